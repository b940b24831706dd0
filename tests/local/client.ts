import pg from "pg";
import type { LocalLakebase } from "lakebase/local";

/** A call of the workspace API with the user's token. */
export async function call(local: LocalLakebase, route: string, body?: unknown, token?: string): Promise<Response> {
  const [method = "GET", path] = route.split(" ");
  return await fetch(local.env["DATABRICKS_HOST"] + path!, {
    method,
    headers: { authorization: `Bearer ${token ?? local.env["DATABRICKS_TOKEN"]}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** A fresh credential for the default endpoint. */
export async function mint(local: LocalLakebase, request: Record<string, unknown> = {}): Promise<string> {
  const endpoint = local.env["LAKEBASE_ENDPOINT"];
  const response = await call(local, "POST /api/2.0/postgres/credentials", { endpoint, ...request });
  const { token } = await response.json();
  return token;
}

/** A pg client that has not connected yet. */
export function client(local: LocalLakebase, password: string, config: pg.ClientConfig = {}): pg.Client {
  const made = new pg.Client({
    host: "localhost",
    port: Number(local.env["PGPORT"]),
    user: local.env["PGUSER"]!,
    database: local.env["PGDATABASE"]!,
    password,
    ssl: { ca: local.ca },
    ...config,
  });
  made.on("error", () => {});
  return made;
}

/** A pg client that has logged in. */
export async function connect(local: LocalLakebase, config: pg.ClientConfig = {}): Promise<pg.Client> {
  const made = client(local, await mint(local), config);
  await made.connect();
  return made;
}

/** The error with which a login is refused. */
export async function refusal(local: LocalLakebase, config: pg.ClientConfig = {}): Promise<pg.DatabaseError> {
  const made = client(local, await mint(local), config);
  try {
    await made.connect();
  } catch (error) {
    return error as pg.DatabaseError;
  }
  await made.end();
  throw new Error("the login was let in");
}

/** The values of the first row of a query. */
export async function row(connected: pg.Client, sql: string, values?: unknown[]): Promise<unknown[]> {
  const { rows } = await connected.query({ text: sql, values: values ?? [], rowMode: "array" });
  return rows[0] ?? [];
}
