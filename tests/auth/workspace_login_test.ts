import assert from "node:assert/strict";
import { azureClient } from "../../src/auth/workspace_login.ts";
import { Workspace } from "../../src/auth/workspace.ts";
import { CertificateAuthority } from "../../src/local/certificate.ts";
import type { WorkspaceLogin } from "../../src/settings/workspace.ts";
import { ownLakebase } from "../support/lakebase.ts";
import { LOCKED } from "../support/files.ts";

const MACHINE = { clientId: "11111111-2222-3333-4444-555555555555", clientSecret: "opaque-client-secret" };

function workspace(host: string, attributes: Record<string, string>, more: Partial<WorkspaceLogin> = {}): Workspace {
  return new Workspace({
    login: { host, workspaceId: undefined, profile: undefined, attributes, ...more },
    limit: 20_000,
  });
}

interface Seen {
  path: string;
  headers: Headers;
  body: string;
}

/** An HTTP server that records the requests. */
function serve(answer: (path: string, origin: string) => Response | undefined) {
  const seen: Seen[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname, origin } = new URL(request.url);
    seen.push({ path: pathname, headers: request.headers, body: await request.text() });
    return answer(pathname, origin) ?? new Response("{}", { status: 404 });
  });
  const origin = `http://localhost:${server.addr.port}`;
  return { seen, origin, [Symbol.asyncDispose]: () => server.shutdown() };
}

function discovered(tokenEndpoint: (origin: string) => string) {
  return (path: string, origin: string) =>
    path.endsWith("/oauth-authorization-server") ? Response.json({ token_endpoint: tokenEndpoint(origin) }) : undefined;
}

Deno.test("a client secret is sent neither to the target of a redirect nor to another server that a workspace names", async () => {
  await using thief = serve(() => Response.json({ access_token: "stolen", expires_in: 3600 }));
  const elsewhere = `${thief.origin}/token`;
  const redirect = (status: number) => new Response(null, { status, headers: { location: elsewhere } });
  const known = discovered((origin) => `${origin}/oidc/v1/token`);
  const servers: ((path: string, origin: string) => Response | undefined)[] = [
    ...[301, 302, 303, 307, 308].map((status) => (path: string, origin: string) =>
      path === "/oidc/v1/token" ? redirect(status) : known(path, origin)
    ),
    () => redirect(302),
    discovered(() => elsewhere),
    (path) => path === "/.well-known/databricks-config" ? Response.json({ oidc_endpoint: thief.origin }) : undefined,
    (path) => path.startsWith("/api/") ? redirect(307) : undefined,
  ];
  for (const [index, answer] of servers.entries()) {
    await using server = serve(answer);
    await assert.rejects(workspace(server.origin, MACHINE).currentUser(), { name: "LakebaseError" }, String(index));
  }
  for (
    const more of [{ token: "dapi-of-a-person" }, { azureClientSecret: "s", azureClientId: "i", azureTenantId: "t" }]
  ) {
    await using server = serve((path, origin) => path === "/oidc/v1/token" ? redirect(302) : known(path, origin));
    const chosen = { ...MACHINE, ...more, authType: "oauth-m2m" };
    await assert.rejects(workspace(server.origin, chosen).currentUser(), /exchange of the client secret .* 302/);
  }
  await using server = serve((path) => path.startsWith("/api/") ? redirect(307) : undefined);
  await assert.rejects(workspace(server.origin, { token: "dapi-of-a-person" }).currentUser(), /a redirect/);
  assert.deepEqual(thief.seen.map(({ path }) => path), []);
});

Deno.test("an unreadable answer to the exchange of a client secret is not quoted", async () => {
  const answers = [{ access_token: "" }, { acces_token: "opaque-token" }, { error: "opaque-token is odd" }, [
    "opaque-token",
  ]];
  for (const body of answers) {
    await using server = serve((path, origin) =>
      path === "/oidc/v1/token" ? Response.json(body) : discovered(() => `${origin}/oidc/v1/token`)(path, origin)
    );
    const error = await workspace(server.origin, MACHINE).currentUser().catch((error) => error);
    assert.match(String(error), /exchange of the client secret/);
    assert.doesNotMatch(Deno.inspect(error, { depth: 9 }), /opaque/);
  }
});

Deno.test("a token without `expires_in` is used for one request, and hidden where it is echoed", async () => {
  await using server = serve((path, origin) => {
    if (path === "/oidc/v1/token") return Response.json({ access_token: "an opaque one" });
    if (path.startsWith("/api/")) return Response.json({ message: "an opaque one is not valid" }, { status: 403 });
    return discovered(() => `${origin}/oidc/v1/token`)(path, origin);
  });
  const error = await workspace(server.origin, MACHINE).currentUser().catch((error) => error);
  assert.match(String(error), /answered 403, "<secret> is not valid"/);
});

Deno.test("a Google login is refused and not quoted, because its library would follow redirects with it", async () => {
  const logins: Record<string, string>[] = [
    { googleCredentials: "opaque-and-secret" },
    { googleServiceAccount: "opaque@example.iam" },
    { googleCredentials: "opaque-and-secret", authType: "google-credentials" },
  ];
  for (const login of logins) {
    const error = await workspace("https://w.gcp.databricks.com", login).currentUser().catch((error) => error);
    assert.equal(error.code, "WORKSPACE_AUTH");
    assert.match(String(error), /GOOGLE_CREDENTIALS.*to the target of a redirect.*DATABRICKS_CLIENT_ID/);
    assert.doesNotMatch(Deno.inspect(error, { depth: 9 }), /opaque/);
  }
});

Deno.test("several login methods are refused unless one is chosen", async () => {
  await using server = serve(() => Response.json({ userName: "u" }));
  const several = { token: "dapi1", azureTenantId: "t" };
  const error = await workspace(server.origin, several).currentUser().catch((error) => error);
  assert.match(
    String(error),
    /several login methods are set, azure \(ARM_TENANT_ID\) and pat \(DATABRICKS_TOKEN\).*DATABRICKS_AUTH_TYPE/,
  );
  assert.equal(await workspace(server.origin, { ...several, authType: "pat" }).currentUser(), "u");
});

const RESOURCE_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w";
const SECRET = { azureClientId: "id", azureClientSecret: "opaque-client-secret", azureTenantId: "t" };

/** The logins of Azure that this module supports, by an address or a resource id. */
const AZURE_LOGINS: [host: string | undefined, attributes: Record<string, string>][] = [
  ["https://adb-1.azuredatabricks.net", SECRET],
  ["https://adb-1.azuredatabricks.net", { azureUseMsi: "true" }],
  ["https://w.example", { ...SECRET, azureWorkspaceResourceId: RESOURCE_ID }],
  [undefined, { ...SECRET, azureWorkspaceResourceId: RESOURCE_ID }],
  [undefined, { azureUseMsi: "1", azureClientId: "id", azureWorkspaceResourceId: RESOURCE_ID }],
];

/** A client for which one server here stands for all of Microsoft's servers. */
function azure(origin: string, host: string | undefined, attributes: Record<string, string>) {
  const cloud = { login: origin, management: "https://management/", resources: origin, metadata: origin };
  return azureClient({ host, workspaceId: undefined, profile: undefined, attributes }, { PUBLIC: cloud })!;
}

Deno.test("a secret or a managed identity of Azure logs in, by the workspace's address or its resource id", async () => {
  const answer = (path: string) =>
    path.startsWith("/subscriptions/")
      ? Response.json({ properties: { workspaceUrl: "adb-7.azuredatabricks.net" } })
      : Response.json({ access_token: `from ${path}`, expires_in: "3600" });
  for (const [host, attributes] of AZURE_LOGINS) {
    await using server = serve(answer);
    const { config } = azure(server.origin, host, attributes);
    assert.equal((await config.getHost()).origin, host ?? "https://adb-7.azuredatabricks.net");
    const headers = new Headers();
    await config.authenticate(headers);
    const from = attributes["azureUseMsi"] ? "/metadata/identity/oauth2/token" : "/t/oauth2/token";
    assert.equal(headers.get("authorization"), `Bearer from ${from}`);
    assert.equal(headers.get("x-databricks-azure-sp-management-token"), `from ${from}`);
    assert.equal(
      headers.get("x-databricks-azure-workspace-resource-id"),
      attributes["azureWorkspaceResourceId"] ?? null,
    );
    if (attributes["azureUseMsi"]) assert.equal(server.seen.at(-1)!.headers.get("metadata"), "true");
  }
  const az = { azureWorkspaceResourceId: RESOURCE_ID, authType: "azure-cli" };
  const login = { host: undefined, workspaceId: undefined, profile: undefined, attributes: az };
  await assert.rejects(new Workspace({ login, limit: 1000 }).currentUser(), /az needs its address in DATABRICKS_HOST/);
  const german = { ...SECRET, azureEnvironment: "GERMAN" };
  await assert.rejects(
    workspace("https://adb-1.azuredatabricks.net", german).currentUser(),
    /ARM_ENVIRONMENT is GERMAN/,
  );
});

Deno.test("no login of Azure follows a redirect", async () => {
  await using thief = serve(() => Response.json({ access_token: "stolen", expires_in: "3600" }));
  const redirect = () => new Response(null, { status: 302, headers: { location: `${thief.origin}/token` } });
  const token = Response.json({ access_token: "opaque-token", expires_in: "3600" });
  const answers: ((path: string) => Response)[] = [
    redirect,
    (path) => path.startsWith("/subscriptions/") ? redirect() : token.clone(),
  ];
  for (const answer of answers) {
    for (const [host, attributes] of AZURE_LOGINS) {
      await using server = serve(answer);
      const { config } = azure(server.origin, host, attributes);
      const asks = async () => {
        await config.getHost();
        await config.authenticate(new Headers());
      };
      if (answer === redirect || host === undefined) await assert.rejects(asks(), /answered 302|gives no address/);
    }
  }
  assert.deepEqual(thief.seen, []);
});

/** The PostgreSQL server of the local Lakebase outlives a test. */
const SHARED = { sanitizeOps: false, sanitizeResources: false };

Deno.test("a service principal logs in with its secret", SHARED, async () => {
  await using local = await ownLakebase({ servicePrincipals: [MACHINE] });
  const host = local.env["DATABRICKS_HOST"]!;
  assert.equal(await workspace(host, MACHINE).currentUser(), MACHINE.clientId);
});

Deno.test("requests name the workspace's id, where it is known", async () => {
  await using server = serve(() => Response.json({ userName: "u" }));
  assert.equal(await workspace(server.origin, { token: "dapi1" }, { workspaceId: "12" }).currentUser(), "u");
  assert.equal(await workspace(server.origin, { token: "dapi1" }).currentUser(), "u");
  const ids = server.seen.map((
    { headers },
  ) => [headers.get("x-databricks-workspace-id"), headers.get("x-databricks-org-id")]);
  assert.deepEqual(ids, [["12", "12"], [null, null]]);
});

Deno.test("a host of several workspaces answers requests that name one", SHARED, async () => {
  await using local = await ownLakebase({ workspaceId: "77", servicePrincipals: [MACHINE] });
  const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token, DATABRICKS_WORKSPACE_ID: id } = local.env as Record<
    string,
    string
  >;
  assert.equal(id, "77");
  for (const login of [{ token: token! }, MACHINE]) {
    assert.notEqual(await workspace(host!, login, { workspaceId: "77" }).currentUser(), "");
    const refused = { code: "WORKSPACE_REFUSED", message: /Workspace ID is missing.*DATABRICKS_WORKSPACE_ID/ };
    await assert.rejects(workspace(host!, login).currentUser(), refused);
  }
});

Deno.test("plain HTTP is allowed only for this machine, as decided by the address of the name", async () => {
  for (
    const host of [
      "http://w.example",
      "http://127.999.0.1.nip.example",
      "http://10.0.0.1",
      "http://no.such.localhost.example",
    ]
  ) {
    await assert.rejects(workspace(host, { token: "dapi1" }).currentUser(), {
      code: "BAD_SETTING",
      message: /plain text/,
    });
  }
});

/** Asks for the current user in a separate process, whose environment names proxies. */
async function userBehind(env: Record<string, string>, host: string): Promise<string> {
  const code = `import { Workspace } from "${import.meta.resolve("../../src/auth/workspace.ts")}";
    const login = { host: "${host}", workspaceId: undefined, profile: undefined, attributes: { token: "dapi1" } };
    console.log(await new Workspace({ login, limit: 20_000 }).currentUser().catch(String));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", ...LOCKED, code], env }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("(slow) no proxy is used for this machine; one is used for others unless NO_PROXY names them", async () => {
  await using server = serve(() => Response.json({ userName: "u" }));
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const asked: string[] = [];
  const proxying = (async () => {
    for await (const connection of listener) {
      const bytes = new Uint8Array(1000);
      const size = await connection.read(bytes).catch(() => null);
      asked.push(new TextDecoder().decode(bytes.subarray(0, size ?? 0)).split("\r\n")[0]!);
      connection.close();
    }
  })().catch(() => {});
  const proxy = `http://127.0.0.1:${listener.addr.port}`;
  for (const name of ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]) {
    assert.equal(await userBehind({ [name]: proxy, NO_PROXY: "" }, server.origin), "u", name);
    assert.equal(await userBehind({ [name]: proxy }, server.origin.replace("localhost", "127.0.0.1")), "u", name);
  }
  assert.deepEqual(asked, []);
  assert.match(await userBehind({ HTTPS_PROXY: proxy }, "https://w.invalid"), /WORKSPACE|Cannot reach/);
  assert.equal(asked[0], "CONNECT w.invalid:443 HTTP/1.1");
  asked.length = 0;
  for (const names of ["w.invalid", ".invalid", "invalid", "a.example, w.invalid", "*"]) {
    for (const name of ["NO_PROXY", "no_proxy"]) {
      const message = await userBehind({ HTTPS_PROXY: proxy, [name]: names }, "https://w.invalid");
      assert.match(message, /Cannot reach/);
      assert.doesNotMatch(message, /HTTPS_PROXY/, names);
    }
  }
  assert.deepEqual(asked, []);
  for (const names of ["*.invalid", "w.invalid:443", "v.invalid"]) { // forms that Deno does not know
    const message = await userBehind({ HTTPS_PROXY: proxy, NO_PROXY: names }, "https://w.invalid");
    assert.match(message, /HTTPS_PROXY names a proxy for it: check the proxy, or put w\.invalid into NO_PROXY/);
    assert.ok(asked.length > 0, names);
    asked.length = 0;
  }
  listener.close();
  await proxying;
});

/** A proxy for CONNECT that leads every name to one port of this machine, and the requests that it gets. */
function connectProxy(port: () => number, login?: string) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const asked: string[] = [];
  const relay = async (client: Deno.TcpConn) => {
    let head = "";
    const bytes = new Uint8Array(4096);
    while (!head.includes("\r\n\r\n")) {
      const size = await client.read(bytes);
      if (size === null) return client.close();
      head += new TextDecoder().decode(bytes.subarray(0, size));
    }
    asked.push(head.split("\r\n")[0]!);
    if (login !== undefined && !head.includes(`Basic ${btoa(login)}`)) {
      await client.write(new TextEncoder().encode("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
      return client.close();
    }
    const server = await Deno.connect({ hostname: "127.0.0.1", port: port() });
    await client.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
    await Promise.allSettled([
      client.readable.pipeTo(server.writable),
      server.readable.pipeTo(client.writable),
    ]);
  };
  const relaying = (async () => {
    for await (const client of listener) relay(client).catch(() => {});
  })();
  return {
    asked,
    address: `127.0.0.1:${listener.addr.port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await relaying;
    },
  };
}

Deno.test({
  name: "(slow) connect() asks a workspace through the CONNECT proxy of HTTPS_PROXY, and the database without it",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const authority = await CertificateAuthority.create(["w.example"]);
    await using local = await ownLakebase();
    // The workspace looks like a remote one: it has HTTPS, and a name that leads to it only through the proxy.
    const forward = async (request: Request) => {
      const url = new URL(request.url);
      const { method, headers, body } = request;
      return await fetch(new URL(url.pathname + url.search, local.env["DATABRICKS_HOST"]), { method, headers, body });
    };
    await using https = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {}, ...authority.issue() }, forward);
    await using proxy = connectProxy(() => https.addr.port, "me:s3cret");
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/ca.pem`, authority.ca);
    const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
      const db = await connect({ envFile: false, connectTimeout: 10 });
      console.log(await db.sql\`SELECT 1\`.value());
      await db.close();`;
    const run = async (env: Record<string, string>) => {
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["eval", "--quiet", ...LOCKED, script],
        env: { ...local.env, DATABRICKS_HOST: "https://w.example", DENO_CERT: `${folder}/ca.pem`, ...env },
      }).output();
      return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    };
    for (const name of ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) {
      proxy.asked.length = 0;
      assert.equal(
        await run({ [name]: `http://me:s3cret@${proxy.address}`, NO_PROXY: "localhost,.other" }),
        "1\n",
        name,
      );
      assert.deepEqual(new Set(proxy.asked), new Set(["CONNECT w.example:443 HTTP/1.1"]), name);
    }
    const refusals: [env: Record<string, string>, expected: RegExp][] = [
      [
        { HTTPS_PROXY: `http://me:wr0ng@${proxy.address}` },
        /Cannot reach the workspace https:\/\/w\.example: .*HTTPS_PROXY/,
      ],
      [
        { HTTPS_PROXY: "http://me:wr0ng@127.0.0.1:1" },
        /Cannot reach the workspace https:\/\/w\.example: .*HTTPS_PROXY/,
      ],
      [{ all_proxy: "http://me:wr0ng@127.0.0.1:1" }, /Cannot reach the workspace https:\/\/w\.example: .*all_proxy/],
    ];
    for (const [env, expected] of refusals) {
      const output = await run(env);
      assert.match(output, expected);
      assert.doesNotMatch(output, /wr0ng/);
    }
    await Deno.remove(folder, { recursive: true });
  },
});
