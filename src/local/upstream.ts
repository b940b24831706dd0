import { connect as connectSocket, type Socket } from "node:net";
import pg from "npm:pg@8.23.1";
import { concatBytes } from "../core/bytes.ts";
import { quoteName } from "../core/sql_text.ts";
import { Connection } from "./connection.ts";
import { copyDatabase } from "./copy_database.ts";
import {
  type Database,
  DEFAULT_DATABASE,
  type Login,
  mergeSettings,
  quoteLiteral,
  readRoleSettings,
  roleSettingsQuery,
  startupSettings,
} from "./database.ts";
import { CANCEL_REQUEST, frame, int32, parameterStatus, PostgresError, readyForQuery } from "./messages.ts";

/** Options of {@linkcode UpstreamDatabase.start}. */
interface UpstreamOptions {
  /** `postgres://` URL of a user that may create roles. */
  url: string;
  /** Roles that may log in; missing ones are created. */
  roles: string[];
}

/** Parts of a `pg.Client` that its types omit. Taking over its connection needs them. */
interface OpenedClient {
  processID: number;
  secretKey: number;
  connection: {
    stream: Socket;
    on(event: "parameterStatus", listener: (message: { parameterName: string; parameterValue: string }) => void): void;
    removeAllListeners(): void;
  };
}

/** A database of a Postgres server. Sessions log in to it as the URL's user, and then change to their role. */
export class UpstreamDatabase implements Database {
  readonly #url: URL;
  /** The database that stands for `databricks_postgres`; `undefined` if the server has a database of that name. */
  #defaultDatabase: string | undefined;
  #unreferenced = false;
  /** Whether this is a branch. A branch has no other database, and `close()` drops it. */
  #isCopy = false;
  #dropped = false;
  /** The sessions' connections to the server. */
  readonly #connections = new Set<Connection>();
  readonly #roles: string[];

  private constructor({ url, roles }: UpstreamOptions) {
    this.#url = parseUrl(url);
    this.#roles = roles;
  }

  /** Creates the roles, and finds the database that stands for `databricks_postgres`. */
  static async start(options: UpstreamOptions): Promise<UpstreamDatabase> {
    const upstream = new UpstreamDatabase(options);
    await upstream.#administer(async (client) => {
      const found = await client.query("SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) $1", [
        DEFAULT_DATABASE,
      ]);
      if (!found.rowCount) upstream.#defaultDatabase = client.database;
    });
    await upstream.#makeRoles();
    return upstream;
  }

  async copy(): Promise<UpstreamDatabase> {
    const copy = new UpstreamDatabase({ url: this.#url.href, roles: this.#roles });
    copy.#defaultDatabase = await this.#administer((client) => copyDatabase(client, this.#databaseName, this.#url));
    copy.#isCopy = true;
    // A copy lacks the privileges on the database itself.
    await copy.#makeRoles().catch((error) => copy.close().then(() => Promise.reject(error)));
    return copy;
  }

  async size(): Promise<number | undefined> {
    const measure = (client: pg.Client) =>
      client.query("SELECT pg_catalog.pg_database_size($1::pg_catalog.name) AS size", [this.#databaseName]);
    return await this.#administer(measure).then(({ rows }) => Number(rows[0]?.size), () => undefined);
  }

  /** The name of the database on the server. */
  get #databaseName(): string {
    return this.#defaultDatabase ?? DEFAULT_DATABASE;
  }

  async #makeRoles(): Promise<void> {
    await this.#administer((client) => makeRoles(client, this.#roles), this.#databaseName);
  }

  async hasRole(role: string): Promise<boolean> {
    const find = (client: pg.Client) =>
      client.query("SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) $1", [role]);
    return Boolean((await this.#administer(find)).rowCount);
  }

  async serve(client: Connection, login: Login, onReady: () => void): Promise<void> {
    if (this.#isCopy && login.database !== DEFAULT_DATABASE) {
      throw new PostgresError({
        sqlstate: "3D000",
        message: `database "${login.database}" does not exist`,
        detail: `A branch here has a copy of ${DEFAULT_DATABASE} only.`,
      });
    }
    const { server, greeting } = await this.#logIn(login);
    this.#connections.add(server);
    try {
      await client.write(greeting);
      onReady();
      await Promise.race([copyBytes(client, server), copyBytes(server, client)]);
    } finally {
      this.#connections.delete(server);
      // Its last message, such as a FATAL error, has been written to the client.
      server.destroy();
    }
  }

  /** Resolves when the server closes the connection, which means that it has signaled the session's process. */
  cancel(process: number, secret: Uint8Array): Promise<void> {
    const { hostname, port } = this.#url;
    const socket = connectSocket(Number(port || 5432), hostname);
    socket.on("error", () => {}); // Postgres itself reports no outcome of a cancel request
    socket.end(concatBytes([int32(16), int32(CANCEL_REQUEST), int32(process), secret.subarray(0, 4)]));
    socket.resume();
    return new Promise((resolve) => socket.once("close", () => resolve()));
  }

  unref(): void {
    this.#unreferenced = true;
  }

  async close(): Promise<void> {
    for (const server of this.#connections) server.destroy();
    if (!this.#isCopy || this.#dropped) return;
    this.#dropped = true;
    await this.#administer((client) =>
      client.query(`DROP DATABASE IF EXISTS ${quoteName(this.#databaseName)} WITH (FORCE)`)
    );
  }

  /** Logs in to the server. `greeting` is what its client must receive. */
  async #logIn({ role, database, parameters, readOnly }: Login): Promise<{ server: Connection; greeting: Uint8Array }> {
    const name = database === DEFAULT_DATABASE ? this.#defaultDatabase ?? database : database;
    const settings = mergeSettings(await this.#roleSettings(role, name), startupSettings(parameters, readOnly));
    // Startup options can set the role, to which DISCARD ALL returns, but not session_authorization.
    settings.set("role", role);
    const encoding = settings.get("client_encoding");
    settings.delete("client_encoding");
    const options = [...settings].map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, "\\$&")}`);
    const client = this.#client(name, options.join(" "));
    const { connection } = client as unknown as OpenedClient;
    const statuses = new Map<string, string>();
    connection.on("parameterStatus", (status) => statuses.set(status.parameterName, status.parameterValue));
    await client.connect().catch(refuseLogin);
    // Fails for a user that is no superuser. Then `session_user` remains that user, and only `current_user` is the role.
    await client.query(`SET SESSION AUTHORIZATION ${quoteLiteral(role)}`).catch(() => {});
    if (encoding) await client.query(`SET client_encoding TO ${quoteLiteral(encoding)}`).catch(refuseLogin);
    const { processID, secretKey } = client as unknown as OpenedClient;
    const greeting = concatBytes([
      ...[...statuses].map(([name, value]) => parameterStatus(name, value)),
      frame("K", int32(processID), int32(secretKey)),
      readyForQuery(),
    ]);
    if (this.#unreferenced) (connection.stream as Socket).unref();
    return { server: takeOver(connection), greeting };
  }

  /** The settings of `ALTER ROLE ... SET`, because the server itself applies only those of the URL's user. */
  async #roleSettings(role: string, database: string): Promise<Map<string, string>> {
    const read = (client: pg.Client) => client.query(roleSettingsQuery(role));
    const { rows } = await this.#administer(read, database).catch(refuseLogin);
    return readRoleSettings(rows.map(({ unnest }) => unnest));
  }

  #client(database?: string, options = ""): pg.Client {
    const url = new URL(this.#url);
    if (database !== undefined) url.pathname = `/${encodeURI(database)}`; // `pg` decodes it
    // Otherwise pg would read PGSSLMODE from the environment, which may be meant for the local Lakebase.
    const ssl = url.searchParams.has("sslmode") ? {} : { ssl: false };
    const client = new pg.Client({ connectionString: url.href, options, ...ssl });
    client.on("error", () => {}); // the running query also rejects, and without a listener an error would end the process
    return client;
  }

  /** Runs a task in a session of the URL's user. */
  async #administer<T>(task: (client: pg.Client) => Promise<T>, database?: string): Promise<T> {
    const client = this.#client(database);
    await client.connect();
    try {
      return await task(client);
    } finally {
      await client.end();
    }
  }
}

/** Creates the missing roles, with the privileges of a project's owner if the URL's user is a superuser. */
async function makeRoles(client: pg.Client, roles: string[]): Promise<void> {
  const { rows } = await client.query("SELECT rolname FROM pg_catalog.pg_roles");
  const existing = new Set(rows.map(({ rolname }) => rolname));
  const self = await client.query(
    "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user",
  );
  const isSuperuser = self.rows[0]?.rolsuper === true;
  const attributes = isSuperuser ? "CREATEDB CREATEROLE BYPASSRLS" : "";
  const database = quoteName(client.database ?? DEFAULT_DATABASE);
  for (const role of new Set(roles)) {
    const name = quoteName(role);
    const create = `CREATE ROLE ${name} LOGIN ${attributes}; GRANT ${name} TO CURRENT_USER;`;
    await client.query(
      `${
        existing.has(role) ? "" : create
      } GRANT ALL ON DATABASE ${database} TO ${name}; GRANT ALL ON SCHEMA public TO ${name}${
        isSuperuser ? `; GRANT pg_monitor TO ${name}` : ""
      }`,
    );
  }
}

/** Takes over the socket of a client that has logged in. */
function takeOver(connection: OpenedClient["connection"]): Connection {
  const { stream } = connection;
  stream.removeAllListeners();
  connection.removeAllListeners();
  return new Connection(stream);
}

/** Copies bytes from one connection to the other until the first one ends. */
async function copyBytes(from: Connection, to: Connection): Promise<void> {
  for (let chunk = await from.read(); chunk; chunk = await from.read()) await to.write(chunk);
}

/** Refuses a login with the server's error. */
function refuseLogin(error: Partial<pg.DatabaseError>): never {
  const { code, message = "", detail, hint } = error;
  const sqlstate = code?.length === 5 ? code : "08006";
  throw new PostgresError({ sqlstate, message, detail, hint });
}

/** Parses the URL. The error does not show it, because it has a password. */
function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url !== null && /^postgres(ql)?:$/.test(url.protocol)) return url;
  throw new Error('Cannot use "database": it is not a URL such as postgres://user:password@host:5432/database');
}
