import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Branches } from "./branches.ts";
import type { CertificateAuthority } from "./certificate.ts";
import { Connection, type Startup, startUp } from "./connection.ts";
import { DEFAULT_DATABASE } from "./database.ts";
import { delay, type Faults } from "./faults.ts";
import { authenticate, COMPUTE_UNAVAILABLE, type LoginPolicy } from "./login.ts";
import { authentication, errorResponse, type Failure, failureFields, PostgresError, SHUTDOWN } from "./messages.ts";
import type { Branch } from "./workspace.ts";

/** One attempt to log in to the Postgres port. */
export interface PostgresLogin {
  /** The Postgres role. */
  user: string;
  /** The database. */
  database: string;
  /** `"ok"`, the SQLSTATE of the refusal, or `"closed"` if the connection ended before either. */
  outcome: string;
}

/** The parts of the local Lakebase that the gateway needs. */
interface GatewayOptions {
  port: number;
  branches: Branches;
  authority: CertificateAuthority;
  policy: LoginPolicy;
  faults: Faults;
  /** Milliseconds within which a connection must log in. */
  handshakeTimeout: number;
}

/** The Postgres port. It requires TLS, SNI and a login, and then serves the database of the login's branch. */
export class Gateway {
  /** Every login so far, in order. */
  readonly logins: PostgresLogin[] = [];
  readonly #options: GatewayOptions;
  readonly #server: Server = createServer({ allowHalfOpen: false, noDelay: true });
  readonly #clients = new Set<Connection>();
  /** The branches of the sessions that are logged in. */
  readonly #branches = new Map<Connection, Branch | undefined>();
  /** The connections that are being served. */
  readonly #serving = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #sessions = 0;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#server.on("connection", (socket: Socket) => {
      socket.on("error", () => {}); // "close" follows, and without a listener an error would end the process
      const served = this.#accept(socket).finally(() => this.#serving.delete(served));
      this.#serving.add(served);
    });
  }

  /** Number of sessions that are logged in. */
  get sessions(): number {
    return this.#sessions;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen(this.#options.port, "127.0.0.1", resolve);
    await promise;
  }

  /** Lets the process end while the gateway listens. Call it before the first connection. */
  unref(): void {
    this.#server.unref();
    this.#server.on("connection", (socket: Socket) => socket.unref());
  }

  /**
   * Ends connections, with a FATAL error or without a message. A connection that is not encrypted yet gets no error,
   * because its client expects TLS or the answer to its request for TLS.
   *
   * @param branch The branch whose sessions end. @default {every connection ends}
   */
  drop(reason: Failure | "abrupt", branch?: Branch): void {
    for (const client of this.#clients) {
      if (branch !== undefined && this.#branches.get(client) !== branch) continue;
      if (reason === "abrupt") client.destroy();
      else client.close(client.encrypted ? errorResponse(reason, "FATAL") : undefined);
    }
  }

  freeze(frozen: boolean): void {
    for (const client of this.#clients) client.freeze(frozen);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.drop(SHUTDOWN);
    await Promise.all(this.#serving);
    await promise;
  }

  async #accept(socket: Socket): Promise<void> {
    let client = new Connection(socket);
    const setClient = (connection: Connection): void => {
      this.#clients.delete(client);
      client = connection;
      this.#clients.add(client);
      if (this.#options.faults.blackhole) client.freeze(true);
    };
    setClient(client);
    const deadline = setTimeout(() => {
      if (!this.#options.faults.blackhole) client.close(errorResponse(TIMEOUT, "FATAL"));
    }, this.#options.handshakeTimeout);
    try {
      if (await this.#admit(client)) await this.#serve(socket, client, setClient, () => clearTimeout(deadline));
    } catch (error) {
      await client.close(errorResponse(failureFields(error, INVALID_STATE), "FATAL"));
    } finally {
      clearTimeout(deadline);
      await client.close();
      this.#clients.delete(client);
    }
  }

  /** Applies faults to a new connection. Returns false if they end it. */
  async #admit(client: Connection): Promise<boolean> {
    const { faults } = this.#options;
    if (faults.greeting === "http") await client.close(new TextEncoder().encode(HTTP_ANSWER));
    const treatment = faults.greeting ?? faults.arrival();
    if (treatment === "reset") client.reset();
    return typeof treatment === "object" || treatment === "serve" || treatment === "28000";
  }

  /** Serves a connection from TLS to its end. `clearDeadline` ends the limit within which it must log in. */
  async #serve(
    socket: Socket,
    plain: Connection,
    setClient: (client: Connection) => void,
    clearDeadline: () => void,
  ): Promise<void> {
    const { authority, faults, branches } = this.#options;
    const startup = await startUp(plain, socket, authority.issue(faults.certificate), setClient);
    if (!startup) return;
    if ("kind" in startup) {
      // The key does not show the session's branch, so every database gets the request. Keys are unique.
      await Promise.all(branches.databases.map((database) => database.cancel(startup.process, startup.secret)));
      return;
    }
    const { user = "", database: name = DEFAULT_DATABASE } = Object.fromEntries(startup.parameters);
    const entry: PostgresLogin = { user, database: name, outcome: "closed" };
    this.logins.push(entry);
    try {
      if (!await this.#wake(startup.client, clearDeadline)) return;
      await this.#serveSession(startup, entry, clearDeadline);
    } catch (error) {
      if (entry.outcome === "closed") entry.outcome = failureFields(error, INVALID_STATE).sqlstate;
      throw error;
    }
  }

  /** Waits until the compute is up. Returns false if the connection must be closed. */
  async #wake(client: Connection, clearDeadline: () => void): Promise<boolean> {
    for (;;) {
      const arrival = this.#options.faults.arrival();
      if (arrival === "serve") return true;
      if (arrival === "28000") throw new PostgresError(COMPUTE_UNAVAILABLE);
      if (typeof arrival === "string") return false;
      clearDeadline(); // waking may take longer
      await delay(arrival.hold, this.#closing.signal);
      if (this.#closing.signal.aborted || client.ended) return false;
    }
  }

  async #serveSession(
    { client, servername, parameters }: Startup,
    entry: PostgresLogin,
    clearDeadline: () => void,
  ): Promise<void> {
    const { faults, branches, policy } = this.#options;
    branches.expire();
    if (this.#sessions >= (faults.maxConnections ?? Infinity)) throw new PostgresError(TOO_MANY_CLIENTS);
    const { branch, readOnly } = await authenticate({ client, servername, parameters }, entry.user, policy);
    const settings = new Map([...parameters].filter(([name]) => name !== "user" && name !== "database"));
    await client.write(authentication(0));
    this.#sessions++;
    this.#branches.set(client, branch);
    try {
      const login = { role: entry.user, database: entry.database, parameters: settings, readOnly };
      await branches.databaseOf(branch).serve(client, login, () => {
        entry.outcome = "ok";
        clearDeadline();
      });
    } finally {
      this.#sessions--;
      this.#branches.delete(client);
    }
  }
}

const INVALID_STATE = "Invalid upstream handshake state.";
const TIMEOUT = { sqlstate: "08006", message: "Client handshake timeout." };
const TOO_MANY_CLIENTS = { sqlstate: "53300", message: "sorry, too many clients already" };
const HTTP_ANSWER = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
