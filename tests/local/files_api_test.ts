import assert from "node:assert/strict";
import type { LocalLakebase, LocalOptions } from "../../src/local/mod.ts";
import { script } from "../support/transfers.ts";
import { ownLakebase } from "../support/lakebase.ts";

const ROOT = "/Volumes/main/raw/landing";

/** Registers a test that sends requests to the Files API. */
function filesTest(name: string, run: (test: FilesTest) => Promise<void>, options: LocalOptions = {}): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      await using local = await ownLakebase(options);
      const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token } = local.inlineEnv;
      const call: FilesTest["call"] = async (method, path, { headers = {}, ...init } = {}) => {
        const all = { authorization: `Bearer ${token}`, ...headers };
        const response = await fetch(`${host}/api/2.0/fs/${path}`, { method, headers: all, ...init });
        return { status: response.status, headers: response.headers, text: await response.text() };
      };
      await run({ call, faults: local.faults });
    },
  });
}

interface FilesTest {
  call: (
    method: string,
    path: string,
    init?: { headers?: Record<string, string>; body?: BodyInit },
  ) => Promise<{ status: number; headers: Headers; text: string }>;
  faults: LocalLakebase["faults"];
}

const codeOf = ({ status, text }: { status: number; text: string }) => `${status} ${JSON.parse(text).error_code}`;

filesTest("a file can be uploaded, read in ranges, and removed", async ({ call }) => {
  const file = `files${ROOT}/sub/t.csv`;
  assert.equal((await call("PUT", `${file}?overwrite=false`, { body: "0123456789" })).status, 204);
  assert.equal(codeOf(await call("PUT", `${file}?overwrite=false`, { body: "x" })), "409 ALREADY_EXISTS");
  const whole = await call("GET", file);
  assert.deepEqual([whole.status, whole.text, whole.headers.get("content-length")], [200, "0123456789", "10"]);
  const parts: readonly [range: string, text: string, at: string][] = [
    ["bytes=2-4", "234", "bytes 2-4/10"],
    ["bytes=7-", "789", "bytes 7-9/10"],
    ["bytes=-2", "89", "bytes 8-9/10"],
    ["bytes=8-99", "89", "bytes 8-9/10"],
  ];
  for (const [range, text, at] of parts) {
    const part = await call("GET", file, { headers: { range } });
    assert.deepEqual([part.status, part.text, part.headers.get("content-range")], [206, text, at]);
  }
  assert.equal((await call("GET", file, { headers: { range: "bytes=10-" } })).status, 416);
  const written = whole.headers.get("last-modified")!;
  assert.equal((await call("GET", file, { headers: { "if-unmodified-since": written } })).status, 200);
  const before = new Date(Date.parse(written) - 5000).toUTCString();
  assert.equal((await call("GET", file, { headers: { "if-unmodified-since": before } })).status, 412);
  const head = await call("HEAD", file);
  assert.deepEqual([head.status, head.headers.get("content-length"), head.text], [200, "10", ""]);
  assert.equal((await call("PUT", file, { body: "new" })).status, 204); // without the parameter, the file is replaced
  assert.equal((await call("GET", file)).text, "new");
  assert.equal((await call("DELETE", file)).status, 204);
  assert.equal(codeOf(await call("DELETE", file)), "404 NOT_FOUND");
});

filesTest("a path outside a Volume is refused, and no path leads out of the folder", async ({ call }) => {
  assert.equal(codeOf(await call("PUT", "files/Volumes/main/raw/nope/t.csv", { body: "1" })), "404 NOT_FOUND");
  assert.equal(codeOf(await call("PUT", `files${ROOT}`, { body: "1" })), "400 INVALID_PARAMETER_VALUE");
  for (const path of [`${ROOT}/..%2f..%2ft.csv`, `${ROOT}/%2e%2e%2ft.csv`, "/etc/passwd", `${ROOT}/a%00b`]) {
    const { status } = await call("PUT", `files${path}`, { body: "1" });
    assert.ok(status === 400, `${path}: ${status}`);
  }
  assert.equal((await call("GET", `files${ROOT}/t.csv`, { headers: { authorization: "" } })).status, 401);
  await call("PUT", `files${ROOT}/t.csv`, { body: "1" });
  assert.equal(codeOf(await call("PUT", `files${ROOT}/t.csv/below.csv`, { body: "1" })), "409 ALREADY_EXISTS");
  assert.equal(
    codeOf(await call("PUT", `files${ROOT}/${"x".repeat(300)}`, { body: "1" })),
    "400 INVALID_PARAMETER_VALUE",
  );
  assert.equal(codeOf(await call("PUT", `directories${ROOT}/t.csv`)), "409 ALREADY_EXISTS");
  assert.equal(codeOf(await call("POST", `files${ROOT}/t.csv`)), "404 NOT_FOUND");
});

filesTest("folders are listed in pages, and only empty ones are removed", async ({ call }) => {
  assert.equal((await call("HEAD", `directories${ROOT}`)).status, 404); // as in a real workspace for an empty Volume
  assert.deepEqual(JSON.parse((await call("GET", `directories${ROOT}`)).text), { contents: [] });
  for (const name of ["a.csv", "b.csv", "c%20d.csv"]) await call("PUT", `files${ROOT}/many/${name}`, { body: "1" });
  assert.equal((await call("HEAD", `directories${ROOT}`)).status, 200);
  const first = JSON.parse((await call("GET", `directories${ROOT}/many?page_size=2`)).text);
  assert.deepEqual(first.contents.map(({ name }: { name: string }) => name), ["a.csv", "b.csv"]);
  const token = encodeURIComponent(first.next_page_token);
  const { contents, ...rest } = JSON.parse((await call("GET", `directories${ROOT}/many?page_token=${token}`)).text);
  assert.deepEqual([contents.length, contents[0].path, contents[0].file_size, rest], [
    1,
    `${ROOT}/many/c d.csv`,
    1,
    {},
  ]);
  const refused = await call("DELETE", `directories${ROOT}/many`);
  assert.equal(codeOf(refused), "400 INVALID_PARAMETER_VALUE");
  assert.equal(JSON.parse(refused.text).details[0].reason, "FILES_API_DIRECTORY_IS_NOT_EMPTY");
  await call("PUT", `directories${ROOT}/empty/deep`);
  assert.equal((await call("DELETE", `directories${ROOT}/empty/deep`)).status, 204);
  assert.equal(codeOf(await call("GET", `directories${ROOT}/none`)), "404 NOT_FOUND");
});

filesTest("a file over the limit is refused, and a broken connection leaves no file", async ({ call, faults }) => {
  const file = `files${ROOT}/t.csv`;
  assert.equal(codeOf(await call("PUT", file, { body: "x".repeat(1001) })), "413 REQUEST_LIMIT_EXCEEDED");
  const stream = ReadableStream.from([new Uint8Array(600), new Uint8Array(600)]);
  assert.equal((await call("PUT", file, { body: stream })).status, 413);
  assert.equal((await call("PUT", file, { body: "x".repeat(1000) })).status, 204);
  faults.workspace("PUT *", { after: 100, times: 1 });
  await assert.rejects(call("PUT", `files${ROOT}/cut.csv`, { body: "x".repeat(900) }));
  assert.equal((await call("HEAD", `files${ROOT}/cut.csv`)).status, 404);
  faults.workspace("GET *", { after: 100, times: 1 });
  await assert.rejects(call("GET", file));
  assert.equal((await call("GET", file)).text.length, 1000);
}, { fileLimit: 1000 });

/** Prints the number of Volume folders while a local Lakebase has a file in one, and after it has ended. */
const COUNT_FOLDERS = `
  import { startLocal } from "lakebase/local";
  const folders = () =>
    [...Deno.readDirSync(Deno.env.get("TMPDIR"))].filter(({ name }) => name.startsWith("lakebase-volumes-")).length;
  const local = await startLocal({ volumes: ["a.b.c"] });
  const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token } = local.inlineEnv;
  const headers = { authorization: "Bearer " + token };
  await fetch(host + "/api/2.0/fs/files/Volumes/a/b/c/t.csv", { method: "PUT", headers, body: "1" });
  const during = folders();
  await local.close();
  console.log(during, folders());`;

Deno.test({
  name: "(slow) the files of Volumes are removed with the local Lakebase, unless it has the option volumesDir",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const upload = async ({ inlineEnv: { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token } }: {
      inlineEnv: Record<string, string>;
    }) => {
      const headers = { authorization: `Bearer ${token}` };
      const url = `${host}/api/2.0/fs/files/Volumes/a/b/c/t.csv`;
      assert.equal((await fetch(url, { method: "PUT", headers, body: "1" })).status, 204);
    };
    const folder = await Deno.makeTempDir({ prefix: "lakebase-files-" });
    const temporary = await Deno.makeTempDir({ prefix: "lakebase-files-" });
    {
      await using kept = await ownLakebase({ volumesDir: `${folder}/`, volumes: ["a.b.c"] });
      await upload(kept);
    }
    // In a separate process, because concurrent tests share this one's environment.
    const counted = await script(COUNT_FOLDERS, { TMPDIR: temporary }).output();
    assert.equal(new TextDecoder().decode(counted.stdout), "1 0\n", new TextDecoder().decode(counted.stderr));
    await using again = await ownLakebase({ volumesDir: folder, volumes: [] }); // a Volume is there if its folder is
    const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token } = again.inlineEnv;
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${host}/api/2.0/fs/files/Volumes/a/b/c/t.csv`, { headers });
    assert.equal(await response.text(), "1");
    await Deno.remove(folder, { recursive: true });
    await Deno.remove(temporary);
  },
});
