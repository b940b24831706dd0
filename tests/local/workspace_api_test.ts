import assert from "node:assert/strict";
import { call, connect, firstRow, mint } from "./client.ts";
import { ownLakebase } from "../support/lakebase.ts";

const CLIENT = { clientId: "11111111-2222-3333-4444-555555555555", clientSecret: "the secret" };
const local = await ownLakebase({
  user: "ana@example.com",
  groups: ["analysts"],
  servicePrincipals: [CLIENT],
  instances: [{ name: "old" }, { name: "stopped", state: "STOPPED" }],
  projects: [
    {
      id: "one",
      displayName: "The first",
      branches: [
        { id: "dev", endpoints: [] },
        {
          id: "production",
          default: true,
          endpoints: [
            { id: "replica", type: "READ_ONLY" },
            { id: "primary", state: "IDLE", readOnlyHost: "ro.localhost" },
            { id: "new", state: "INIT", withoutHosts: true },
          ],
        },
      ],
    },
    ...Array.from({ length: 120 }, (_, i) => ({ id: `p${i}` })),
  ],
});
Deno.test.afterAll(() => local.close());

const BRANCH = "/api/2.0/postgres/projects/one/branches/production";

async function get(path: string): Promise<Record<string, unknown>> {
  const response = await call(local, `GET ${path}`);
  assert.equal(response.status, 200);
  assert(response.headers.get("date"));
  return await response.json();
}

async function refused(route: string, body?: unknown, token?: string): Promise<[number, string, string]> {
  const response = await call(local, route, body, token);
  const { error_code, message } = await response.json();
  assert.match(message, / \[TraceId: [0-9a-f-]{36}\]$/);
  return [response.status, error_code, message.replace(/ \[TraceId.*/, "")];
}

Deno.test("projects, branches and endpoints have the form of the real API", async () => {
  const project = await get("/api/2.0/postgres/projects/one");
  assert.equal(project["name"], "projects/one");
  const status = project["status"] as Record<string, unknown>;
  assert.equal(status["default_branch"], "projects/one/branches/production");
  assert.equal(status["display_name"], "The first");
  assert.equal(status["owner"], "ana@example.com");
  const { branches } = await get("/api/2.0/postgres/projects/one/branches") as { branches: { status: unknown }[] };
  assert.deepEqual(branches.map(({ status }) => (status as { default: boolean }).default), [false, true]);
  const { endpoints } = await get(`${BRANCH}/endpoints`) as { endpoints: { status: Record<string, unknown> }[] };
  assert.deepEqual(
    endpoints.map(({ status }) => [status["endpoint_type"], status["current_state"], status["hosts"]]),
    [
      ["ENDPOINT_TYPE_READ_ONLY", "ACTIVE", { host: "localhost" }],
      ["ENDPOINT_TYPE_READ_WRITE", "IDLE", {
        host: "localhost",
        read_write_pooled_host: "localhost-pooler.localhost",
        read_only_host: "ro.localhost",
      }],
      ["ENDPOINT_TYPE_READ_WRITE", "INIT", undefined],
    ],
  );
});

Deno.test("databases and roles are listed", async () => {
  const { databases } = await get(`${BRANCH}/databases`) as { databases: Record<string, unknown>[] };
  assert.equal((databases[0]?.["status"] as Record<string, unknown>)["postgres_database"], "databricks_postgres");
  const { roles } = await get(`${BRANCH}/roles`) as { roles: Record<string, unknown>[] };
  assert.deepEqual(roles.map(({ status }) => (status as Record<string, unknown>)["postgres_role"]), [
    "ana@example.com",
    CLIENT.clientId,
    "analysts",
  ]);
  assert.equal((await get(`${BRANCH}/roles/ana-example-com`))["name"], `${BRANCH.slice(18)}/roles/ana-example-com`);
});

Deno.test("lists have pages, and omit their key when they are empty", async () => {
  const names: string[] = [];
  let pages = 0;
  let token: string | undefined;
  do {
    const query = token ? `&page_token=${encodeURIComponent(token)}` : "";
    const page = await get(`/api/2.0/postgres/projects?page_size=50${query}`);
    names.push(...(page["projects"] as { name: string }[]).map(({ name }) => name));
    token = page["next_page_token"] as string | undefined;
    pages++;
  } while (token);
  assert.equal(pages, 3);
  assert.equal(new Set(names).size, 121);
  assert.equal(((await get("/api/2.0/postgres/projects"))["projects"] as unknown[]).length, 100);
  assert.deepEqual(await get("/api/2.0/postgres/projects/one/branches/dev/endpoints"), {});
});

const refusals: [string, unknown, [number, string, string]][] = [
  ["GET /api/2.0/postgres/1234", undefined, [404, "NOT_FOUND", "resource not found"]],
  ["GET /api/2.0/postgres/projects/none", undefined, [404, "NOT_FOUND", "project id not found"]],
  ["GET /api/2.0/postgres/projects/none/branches/b", undefined, [404, "NOT_FOUND", "project id not found"]],
  ["GET /api/2.0/postgres/projects/one/branches/b", undefined, [404, "NOT_FOUND", "branch id not found"]],
  [`GET ${BRANCH}/endpoints/e`, undefined, [404, "NOT_FOUND", "endpoint id not found"]],
  ["GET /api/2.0/postgres/projects/one/constructor", undefined, [404, "NOT_FOUND", "resource not found"]],
  ["GET /api/2.0/postgres/projects/one/constructor/name", undefined, [404, "NOT_FOUND", "resource not found"]],
  [`GET ${BRANCH}/toString`, undefined, [404, "NOT_FOUND", "resource not found"]],
  [`GET ${BRANCH}/__proto__`, undefined, [404, "NOT_FOUND", "resource not found"]],
  ["GET /api/2.0/postgres/constructor", undefined, [404, "NOT_FOUND", "resource not found"]],
  ["GET /api/2.0/postgres/projects/%ff", undefined, [400, "BAD_REQUEST", "The path is not encoded in UTF-8"]],
  [`GET ${BRANCH}/nonsense`, undefined, [404, "NOT_FOUND", "resource not found"]],
  ["GET /api/2.0/postgres/projects?page_token=!", undefined, [
    400,
    "INVALID_PARAMETER_VALUE",
    "Field 'page_token' is not valid",
  ]],
  ["GET /api/2.0/clusters/list", undefined, [404, "NOT_FOUND", "No API found for 'GET /api/2.0/clusters/list'"]],
  ["POST /api/2.0/postgres/credentials", {}, [
    400,
    "INVALID_PARAMETER_VALUE",
    `Field 'endpoint' is required, expected non-default value (not "")!`,
  ]],
  ["POST /api/2.0/postgres/credentials", { endpoint: "projects/one/branches/production/endpoints/none" }, [
    404,
    "NOT_FOUND",
    "endpoint id not found",
  ]],
  ["POST /api/2.0/postgres/credentials", { endpoint: "projects/one" }, [404, "NOT_FOUND", "resource not found"]],
  ["POST /api/2.0/postgres/credentials", { endpoint: `${BRANCH.slice(18)}/endpoints/primary`, group_name: "no" }, [
    403,
    "PERMISSION_DENIED",
    "'ana@example.com' is not a member of group 'no'",
  ]],
  ["POST /api/2.0/database/credentials", {}, [
    400,
    "INVALID_PARAMETER_VALUE",
    "At least one of 'instance_names' and 'claims' is required",
  ]],
  ["POST /api/2.0/database/credentials", { instance_names: ["none"] }, [
    404,
    "NOT_FOUND",
    "Database instance 'none' not found",
  ]],
  ["GET /api/2.0/database/instances/none", undefined, [404, "NOT_FOUND", "Database instance 'none' not found"]],
];

for (const [route, body, expected] of refusals) {
  Deno.test(`${route} ${JSON.stringify(body) ?? ""} is refused with ${expected[0]}`, async () => {
    assert.deepEqual(await refused(route, body), expected);
  });
}

Deno.test("a body that is not JSON is refused", async () => {
  const response = await fetch(`${local.env["DATABRICKS_HOST"]}/api/2.0/postgres/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` },
    body: "{",
  });
  assert.equal(response.status, 400);
  assert.equal((await response.json()).error_code, "MALFORMED_REQUEST");
});

Deno.test("an invalid Host header is refused", async () => {
  using connection = await Deno.connect({
    hostname: "127.0.0.1",
    port: Number(new URL(local.env["DATABRICKS_HOST"]!).port),
  });
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a b c\r\nConnection: close\r\n\r\n"));
  assert.match(await new Response(connection.readable).text(), /^HTTP\/1\.1 400 /);
});

Deno.test("a call without the right token is refused with 401", async () => {
  for (const token of ["", "wrong", `${local.env["DATABRICKS_TOKEN"]}x`]) {
    const [status, code] = await refused("GET /api/2.0/preview/scim/v2/Me", undefined, token);
    assert.deepEqual([status, code], [401, "UNAUTHENTICATED"]);
  }
});

Deno.test("a credential has the requested lifetime", async () => {
  const endpoint = `${BRANCH.slice(18)}/endpoints/primary`;
  const response = await call(local, "POST /api/2.0/postgres/credentials", { endpoint, ttl: "300s" });
  const { token, expire_time } = await response.json();
  assert.match(expire_time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const left = Date.parse(expire_time) - Date.now();
  assert(left > 295_000 && left <= 300_000, String(left));
  const [header, payload, signature] = token.split(".");
  assert(header && signature);
  const claims = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
  assert.equal(claims.sub, "ana@example.com");
  assert.equal(claims.exp * 1000, Date.parse(expire_time));
});

Deno.test("Me is the user of the token", async () => {
  const me = await get("/api/2.0/preview/scim/v2/Me");
  assert.equal(me["userName"], "ana@example.com");
  assert.deepEqual(me["emails"], [{ type: "work", value: "ana@example.com", primary: true }]);
});

Deno.test("a service principal gets a token by OIDC discovery, and Me is the service principal", async () => {
  const host = local.env["DATABRICKS_HOST"];
  const config = await (await fetch(`${host}/.well-known/databricks-config`)).json();
  const discovery = await (await fetch(`${config.oidc_endpoint}/.well-known/oauth-authorization-server`)).json();
  const ask = async (secret: string, headers: HeadersInit = {}, form: Record<string, string> = {}) =>
    await fetch(discovery.token_endpoint, {
      method: "POST",
      headers: headers,
      body: new URLSearchParams({
        grant_type: "client_credentials",
        scope: "all-apis",
        client_secret: secret,
        ...form,
      }),
    });
  const byForm = await ask(CLIENT.clientSecret, {}, { client_id: CLIENT.clientId });
  const authorization = `Basic ${btoa(`${CLIENT.clientId}:${encodeURIComponent(CLIENT.clientSecret)}`)}`;
  const byHeader = await ask("", { authorization });
  for (const response of [byForm, byHeader]) {
    const { access_token, token_type, expires_in } = await response.json();
    assert.deepEqual([token_type, expires_in], ["Bearer", 3600]);
    const me = await (await call(local, "GET /api/2.0/preview/scim/v2/Me", undefined, access_token)).json();
    assert.equal(me.userName, CLIENT.clientId);
  }
  const wrong = await ask("wrong", {}, { client_id: CLIENT.clientId });
  assert.equal(wrong.status, 401);
  assert.equal((await wrong.json()).error, "invalid_client");
  for (const garbage of ["!!!!", btoa("%:%"), btoa("no colon")]) {
    const refused = await ask("", { authorization: `Basic ${garbage}` });
    assert.deepEqual([refused.status, (await refused.json()).error], [401, "invalid_client"]);
  }
  const other = await ask(CLIENT.clientSecret, {}, { client_id: CLIENT.clientId, grant_type: "password" });
  assert.equal((await other.json()).error, "unsupported_grant_type");
});

Deno.test("Provisioned instances are listed, found by uid, and accept a login", async () => {
  const { database_instances } = await get("/api/2.0/database/instances") as {
    database_instances: { name: string; uid: string; state: string }[];
  };
  assert.deepEqual(database_instances.map(({ name, state }) => [name, state]), [
    ["old", "AVAILABLE"],
    ["stopped", "STOPPED"],
  ]);
  const uid = database_instances[0]?.uid;
  assert.equal((await get(`/api/2.0/database/instances:findByUid?uid=${uid}`))["name"], "old");
  assert.equal((await get("/api/2.0/database/instances/old"))["read_write_dns"], "localhost");
  const body = { instance_names: ["old"], request_id: crypto.randomUUID() };
  const { token, expiration_time, expire_time } = await (await call(local, "POST /api/2.0/database/credentials", body))
    .json();
  assert.equal(expire_time, undefined);
  assert(Date.parse(expiration_time) > Date.now() + 3_500_000);
  const client = await connect(local, { password: token });
  assert.deepEqual(await firstRow(client, "SELECT current_user"), ["ana@example.com"]);
  await client.end();
});

Deno.test("every call is recorded, without its token", async () => {
  const before = local.requests.length;
  await mint(local, { endpoint: `${BRANCH.slice(18)}/endpoints/primary` });
  assert.deepEqual(local.requests.slice(before), [
    { method: "POST", path: "/api/2.0/postgres/credentials", status: 200 },
  ]);
});

Deno.test("(slow) the last 10,000 calls are kept", async () => {
  await using busy = await ownLakebase();
  const ask = async (n: number) => await (await call(busy, `GET /api/2.0/none/${n}`)).body?.cancel();
  for (let n = 0; n < 10_100; n += 100) await Promise.all(Array.from({ length: 100 }, (_, index) => ask(n + index)));
  assert.equal(busy.requests.length, 10_000);
  assert.ok(busy.requests.every(({ path }) => Number(path.split("/").at(-1)) >= 100));
});
