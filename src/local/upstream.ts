import { connect as connectSocket, type Socket } from "node:net";
import pg from "npm:pg@^8.23.0";
import { concatBytes } from "../core/bytes.ts";
import { Connection } from "./connection.ts";
import { type Database, DEFAULT_DATABASE, type Login } from "./database.ts";
import { frame, int32, parameterStatus, ready, Refused } from "./messages.ts";
import { identifier, literal, startupSettings } from "./session_settings.ts";

/** A real server to stand in front of. */
export interface UpstreamOptions {
  /** `postgres://` URL, whose user may make roles. */
  url: string;
  /** Roles that may log in; made where they are missing. */
  roles: string[];
}

/** The parts of a `pg.Client` that take its connection over, which its types leave out. */
interface OpenedClient {
  processID: number;
  secretKey: number;
  connection: {
    stream: Socket;
    on(event: "parameterStatus", listener: (message: { parameterName: string; parameterValue: string }) => void): void;
    removeAllListeners(): void;
  };
}

const CANCEL_REQUEST = 80877102;

/** A Postgres server somewhere else. Sessions log in to it as the URL's user and act as their own role. */
export class UpstreamDatabase implements Database {
  readonly #url: URL;
  /** The database that stands for `databricks_postgres`; undefined where there is one of that name. */
  #standIn: string | undefined;
  #unref = false;
  readonly #open = new Set<Connection>();

  private constructor(url: string) {
    this.#url = parsed(url);
  }

  /** Makes the roles, and finds out which database is meant by `databricks_postgres`. */
  static async start({ url, roles }: UpstreamOptions): Promise<UpstreamDatabase> {
    const upstream = new UpstreamDatabase(url);
    await upstream.#administer(async (client) => {
      const present = await client.query("SELECT FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) $1", [
        DEFAULT_DATABASE,
      ]);
      if (!present.rowCount) upstream.#standIn = client.database;
    });
    await upstream.#administer((client) => makeRoles(client, roles), upstream.#standIn ?? DEFAULT_DATABASE);
    return upstream;
  }

  async hasRole(role: string): Promise<boolean> {
    const find = (client: pg.Client) =>
      client.query("SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) $1", [role]);
    return Boolean((await this.#administer(find)).rowCount);
  }

  async serve(client: Connection, login: Login, onReady: () => void): Promise<void> {
    const { server, greeting } = await this.#logIn(login);
    this.#open.add(server);
    try {
      await client.write(greeting);
      onReady();
      await Promise.race([carry(client, server), carry(server, client)]);
    } finally {
      this.#open.delete(server);
      // What the server said last, a FATAL perhaps, has been written to the client by now.
      server.destroy();
    }
  }

  /** Ends when the server has hung up, which is when it has signaled its process: a client waits for that. */
  cancel(process: number, secret: Uint8Array): Promise<void> {
    const { hostname, port } = this.#url;
    const socket = connectSocket(Number(port || 5432), hostname);
    socket.on("error", () => {});
    socket.end(concatBytes([int32(16), int32(CANCEL_REQUEST), int32(process), secret.subarray(0, 4)]));
    socket.resume();
    return new Promise((resolve) => socket.once("close", () => resolve()));
  }

  unref(): void {
    this.#unref = true;
  }

  close(): Promise<void> {
    for (const server of this.#open) server.destroy();
    return Promise.resolve();
  }

  async #logIn({ role, database, parameters, readOnly }: Login): Promise<{ server: Connection; greeting: Uint8Array }> {
    const settings = startupSettings(parameters, readOnly);
    // Startup options can't set session_authorization; role they can, and DISCARD ALL then comes back to it.
    settings.set("role", role);
    const encoding = settings.get("client_encoding");
    settings.delete("client_encoding");
    const options = [...settings].map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, "\\$&")}`);
    const meant = database === DEFAULT_DATABASE ? this.#standIn ?? database : database;
    const client = this.#client(meant, options.join(" "));
    const { connection } = client as unknown as OpenedClient;
    const statuses = new Map<string, string>();
    connection.on("parameterStatus", (status) => statuses.set(status.parameterName, status.parameterValue));
    await client.connect().catch(refuse);
    // Only a superuser may; for another user, `current_user` alone is the role.
    await client.query(`SET SESSION AUTHORIZATION ${literal(role)}`).catch(() => {});
    if (encoding) await client.query(`SET client_encoding TO ${literal(encoding)}`).catch(refuse);
    const { processID, secretKey } = client as unknown as OpenedClient;
    const greeting = concatBytes([
      ...[...statuses].map(([name, value]) => parameterStatus(name, value)),
      frame("K", int32(processID), int32(secretKey)),
      ready(),
    ]);
    if (this.#unref) (connection.stream as Socket).unref();
    return { server: takeOver(connection), greeting };
  }

  #client(database?: string, options = ""): pg.Client {
    const url = new URL(this.#url);
    if (database !== undefined) url.pathname = `/${encodeURI(database)}`; // which is what `pg` undoes
    // Else pg would take PGSSLMODE from the environment, which may well be the one that points at this very server.
    const ssl = url.searchParams.has("sslmode") ? {} : { ssl: false };
    const client = new pg.Client({ connectionString: url.href, options, ...ssl });
    client.on("error", () => {});
    return client;
  }

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

/** Makes the roles that are missing, as able as the owner of a project where we are able to give that. */
async function makeRoles(client: pg.Client, roles: string[]): Promise<void> {
  const present = await client.query("SELECT rolname FROM pg_catalog.pg_roles");
  const known = new Set(present.rows.map(({ rolname }) => rolname));
  const self = await client.query(
    "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user",
  );
  const able = self.rows[0]?.rolsuper === true;
  const attributes = able ? "CREATEDB CREATEROLE BYPASSRLS" : "";
  const database = identifier(client.database ?? DEFAULT_DATABASE);
  for (const role of new Set(roles)) {
    const name = identifier(role);
    const create = `CREATE ROLE ${name} LOGIN ${attributes}; GRANT ${name} TO CURRENT_USER;`;
    await client.query(
      `${
        known.has(role) ? "" : create
      } GRANT ALL ON DATABASE ${database} TO ${name}; GRANT ALL ON SCHEMA public TO ${name}${
        able ? `; GRANT pg_monitor TO ${name}` : ""
      }`,
    );
  }
}

/** The socket of a client that has logged in, without the client. */
function takeOver(connection: OpenedClient["connection"]): Connection {
  const { stream } = connection;
  stream.removeAllListeners();
  connection.removeAllListeners();
  return new Connection(stream);
}

/** Carries bytes from one side to the other until it ends. */
async function carry(from: Connection, to: Connection): Promise<void> {
  for (let chunk = await from.read(); chunk; chunk = await from.read()) await to.write(chunk);
}

/** Tells the client what the server told us. */
function refuse(error: Partial<pg.DatabaseError>): never {
  const { code, message = "", detail, hint } = error;
  const sqlstate = code?.length === 5 ? code : "08006";
  throw new Refused({ sqlstate, message, detail, hint });
}

/** The URL; an error does not show what it was given, which holds a password. */
function parsed(text: string): URL {
  const url = URL.parse(text);
  if (url !== null && /^postgres(ql)?:$/.test(url.protocol)) return url;
  throw new Error('Cannot use "database": it is no URL such as postgres://user:password@host:5432/database');
}
