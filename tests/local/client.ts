import pg from "pg";
import type { LocalLakebase } from "lakebase/local";

/** Calls the workspace API, by default with the user's token. `route` is a method and a path. */
export async function call(local: LocalLakebase, route: string, body?: unknown, token?: string): Promise<Response> {
  const [method = "GET", path] = route.split(" ");
  return await fetch(local.env["DATABRICKS_HOST"] + path!, {
    method,
    headers: { authorization: `Bearer ${token ?? local.env["DATABRICKS_TOKEN"]}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** Mints a credential, by default for the default endpoint. */
export async function mint(local: LocalLakebase, request: Record<string, unknown> = {}): Promise<string> {
  const endpoint = local.env["LAKEBASE_ENDPOINT"];
  const response = await call(local, "POST /api/2.0/postgres/credentials", { endpoint, ...request });
  const { token } = await response.json();
  return token;
}

/** Makes a `pg` client that has not connected yet. */
export function newClient(local: LocalLakebase, password: string, config: pg.ClientConfig = {}): pg.Client {
  const client = new pg.Client({
    host: "localhost",
    port: Number(local.env["PGPORT"]),
    user: local.env["PGUSER"]!,
    database: local.env["PGDATABASE"]!,
    password,
    ssl: { ca: local.ca },
    ...config,
  });
  client.on("error", () => {});
  return client;
}

/** Makes a `pg` client that has logged in. */
export async function connect(local: LocalLakebase, config: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = newClient(local, await mint(local), config);
  await client.connect();
  return client;
}

/** Logs in, and returns the error of the refusal. */
export async function refusal(local: LocalLakebase, config: pg.ClientConfig = {}): Promise<pg.DatabaseError> {
  const client = newClient(local, await mint(local), config);
  try {
    await client.connect();
  } catch (error) {
    return error as pg.DatabaseError;
  }
  await client.end();
  throw new Error("the login was accepted");
}

/** Runs a query, and returns the values of its first row. */
export async function firstRow(client: pg.Client, sql: string, values?: unknown[]): Promise<unknown[]> {
  const { rows } = await client.query({ text: sql, values: values ?? [], rowMode: "array" });
  return rows[0] ?? [];
}
