import assert from "node:assert/strict";
import { connect, type LakebaseError } from "../../mod.ts";
import { findEndpoint } from "../../src/auth/endpoint.ts";
import { Workspace } from "../../src/auth/workspace.ts";
import { ZmtpReader } from "../../src/kernel/message_reader.ts";
import { localTests } from "../support/lakebase.ts";
import { errorOf, queryTest } from "../support/queries.ts";

const test = localTests();

/** A client of a workspace that a test serves. */
function clientOf({ addr: { port } }: Deno.HttpServer<Deno.NetAddr>) {
  return {
    config: {
      getHost: () => Promise.resolve(new URL(`http://127.0.0.1:${port}`)),
      authenticate: (headers: Headers) => Promise.resolve(headers.set("authorization", "Bearer none")),
    },
  };
}

Deno.test("an endless answer of the workspace is an error, and reading stops", async () => {
  const canceled = Promise.withResolvers<void>();
  const piece = new TextEncoder().encode(`{"name":"${"x".repeat(1_000_000)}`);
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(piece),
      cancel: () => canceled.resolve(),
    });
    return new Response(body, { headers: { "content-type": "application/json" } });
  });
  const error = await errorOf(() => new Workspace({ client: clientOf(server), limit: 60_000 }).currentUser());
  assert.equal(error.code, "WORKSPACE_UNAVAILABLE");
  assert.match(error.message, /its answer has more than 16 MiB/);
  await canceled.promise;
});

Deno.test("the alternatives to a missing endpoint are looked up within the same deadline", async () => {
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    if (request.url.endsWith("/e")) return Response.json({ message: "no such endpoint" }, { status: 404 });
    return new Response(new ReadableStream()); // a body that never ends
  });
  const workspace = new Workspace({ client: clientOf(server), limit: 3_600_000 }); // a single request may take an hour
  const request = { endpoint: "projects/p/branches/b/endpoints/e", readOnly: false };
  const error = await errorOf(() => findEndpoint(workspace, request, { deadline: Date.now() + 4000 }));
  assert.equal(error.code, "ENDPOINT_NOT_FOUND");
  assert.match(error.message, /projects\/p\/branches\/b\/endpoints\/e is not in the workspace$/);
});

test("an endless list of the workspace is an error within connectTimeout", async () => {
  let pages = 0;
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    pages++;
    return Response.json({ projects: [{ name: `projects/p${pages}` }], next_page_token: `page ${pages}` });
  });
  const options = { workspace: clientOf(server), user: "me", envFile: false, connectTimeout: 5 } as const;
  const error = await errorOf(() => connect(options));
  assert.equal(error.code, "WORKSPACE_UNAVAILABLE");
  assert.match(error.message, /its list of projects does not end: \d+ pages so far/);
});

test("the local workspace limits a request's body before it has checked the login", async ({ local }) => {
  for (const path of ["/oidc/v1/token", "/api/2.0/postgres/credentials"]) {
    const response = await fetch(`${local.env["DATABRICKS_HOST"]}${path}`, {
      method: "POST",
      body: "x".repeat(2_000_000),
      headers: { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` },
    });
    assert.equal(response.status, 413, path);
    assert.match(await response.text(), /more than 1000000 bytes/);
  }
});

Deno.test("a message that is too long is refused by its header, before its bytes arrive", () => {
  const frame = (length: number, more: boolean) => {
    const bytes = new Uint8Array(9);
    bytes[0] = 2 | (more ? 1 : 0);
    new DataView(bytes.buffer).setBigUint64(1, BigInt(length));
    return bytes;
  };
  assert.throws(() => new ZmtpReader(1000).feed(frame(1000, false)), /it has more than 1000 bytes/);
  assert.deepEqual(new ZmtpReader(1000).feed(frame(900, false)).message, undefined);
  const reader = new ZmtpReader(1000);
  const feed = () => reader.feed(new Uint8Array([...frame(400, true), ...new Uint8Array(400)]));
  feed();
  feed();
  assert.throws(feed, /it has more than 1000 bytes/);
});

queryTest("NDJSON that is nested too deep is refused before it takes memory", async ({ db }) => {
  await db.query("CREATE TABLE IF NOT EXISTS nested (a jsonb)");
  const path = await Deno.makeTempFile({ suffix: ".ndjson" });
  const cases: [line: string, fits: boolean][] = [
    [`{"a":${"[".repeat(900)}${"]".repeat(900)}}`, true],
    [`{"a":"${"[".repeat(5000)}"}`, true],
    [`{"a":"${'\\"['.repeat(5000)}"}`, true],
    [`{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`, false],
    [`{"a":${"[".repeat(2_000_000)}`, false],
    [`{"a":${'{"b":'.repeat(5000)}1${"}".repeat(5000)}}`, false],
  ];
  try {
    for (const [line, fits] of cases) {
      await Deno.writeTextFile(path, `${line}\n`);
      const loaded = await db.load("nested", path).then(() => undefined, (error: LakebaseError) => error);
      if (fits) assert.equal(loaded, undefined);
      else assert.match(String(loaded?.message), /line 1 is nested more than 1000 deep$/m);
    }
  } finally {
    await Deno.remove(path);
    await db.query("DROP TABLE nested");
  }
});
