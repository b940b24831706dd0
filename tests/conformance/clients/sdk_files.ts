// Reads files of a Volume with an unchanged @databricks/sdk-experimental. Its `files.upload` sends no body, so `fetch`
// uploads the files.
import assert from "node:assert/strict";
import { WorkspaceClient } from "@databricks/sdk-experimental";

const w = new WorkspaceClient({});
const volume = "/Volumes/main/raw/landing";
const bytes = crypto.getRandomValues(new Uint8Array(60_000));
const headers = new Headers();
await w.config.authenticate(headers);
const url = new URL(`/api/2.0/fs/files${volume}/sub/a.bin?overwrite=true`, await w.config.getHost());
assert.equal((await fetch(url, { method: "PUT", headers, body: bytes })).status, 204);

const { contents } = await w.files.download({ file_path: `${volume}/sub/a.bin` }) as { contents?: ReadableStream };
assert.deepEqual(new Uint8Array(await new Response(contents!).arrayBuffer()), bytes);

const names: string[] = [];
for await (const { name } of w.files.listDirectoryContents({ directory_path: `${volume}/sub` })) names.push(name!);
assert.deepEqual(names, ["a.bin"]);
await assert.rejects(async () => await w.files.download({ file_path: `${volume}/sub/b.bin` }));
await Deno.stdout.write(new TextEncoder().encode("done\n"));
