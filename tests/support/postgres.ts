import { ignoreNotFound, isFile, isFolder } from "./files.ts";
import { freePort } from "./port.ts";
import { type Account, ServerProcess, unprivilegedAccount } from "./server_process.ts";

export interface PostgresOptions {
  /** The database to create besides `postgres`; `url` names it. */
  database?: string;
  /** The superuser's name. */
  user?: string;
  /** The superuser's password. Without it, clients on loopback need none. */
  password?: string;
  maxConnections?: number;
  /** The server's certificate and key for TLS, as PEM. Without them there is no TLS. */
  certificate?: { cert: string; key: string };
  /** Further settings of postgresql.conf, by name. */
  settings?: Record<string, string | number>;
}

export interface PostgresServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The server's log since its last start. */
  log(): Promise<string>;
  /** Closes every session and starts again, on the same port and data. */
  restart(): Promise<void>;
  /** Drops all sessions at once, like a crash. `restart()` starts the server again. */
  kill(): Promise<void>;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
}

/** The reason why `startPostgres` can't work here. */
export function postgresMissing(): string | undefined {
  return postgresPrograms() ? undefined : "no PostgreSQL server found; apt-get install postgresql";
}

/** The reason why a test can't run `psql` here. */
export function psqlMissing(): string | undefined {
  const isFound = pathFolders().some((folder) => isFile(`${folder}/psql`));
  return isFound ? undefined : "no psql found; apt-get install postgresql-client";
}

/**
 * The name of a test on PGlite that also runs on PostgreSQL. If PostgreSQL is installed, `deno task test` leaves the
 * test on PGlite to `deno task test:slow`.
 */
export function alsoOnPGlite(name: string): string {
  return postgresMissing() === undefined && !name.startsWith("(slow)") ? `(slow) ${name}` : name;
}

/** A PostgreSQL server for one test, on loopback and a free port. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const bin = postgresPrograms();
  if (!bin) throw new Error(postgresMissing());
  const account = unprivilegedAccount();
  const home = await Deno.makeTempDir({ prefix: "lakebase-postgres-" });
  const cluster = new Cluster(bin, home, account, options);
  try {
    await cluster.create();
    await cluster.start();
    if (options.database) await cluster.run("createdb", "-w", options.database);
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Cluster implements PostgresServer {
  port = freePort();
  readonly #bin: string;
  readonly #home: string;
  readonly #account: Account;
  readonly #options: PostgresOptions;
  readonly #user: string;
  #server: ServerProcess | undefined;

  constructor(bin: string, home: string, account: Account, options: PostgresOptions) {
    this.#bin = bin;
    this.#home = home;
    this.#account = account;
    this.#options = options;
    this.#user = options.user ?? "postgres";
  }

  get url(): string {
    const { password, database = "postgres" } = this.#options;
    const login = [this.#user, ...(password ? [password] : [])].map(encodeURIComponent).join(":");
    return `postgres://${login}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`;
  }

  async create(): Promise<void> {
    const { maxConnections = 50, certificate, settings = {} } = this.#options;
    await this.#giveAway(this.#home);
    const tls = certificate === undefined ? {} : await this.#writeCertificate(certificate);
    await this.#program("cp", "-R", await this.#newCluster(), this.#data);
    const lines = {
      listen_addresses: "127.0.0.1",
      unix_socket_directories: this.#home,
      max_connections: maxConnections,
      fsync: "off",
      synchronous_commit: "off",
      full_page_writes: "off",
      ...tls,
      ...settings,
    };
    const conf = Object.entries(lines).map(([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`);
    await Deno.writeTextFile(`${this.#data}/postgresql.conf`, conf.join(""), { append: true });
  }

  async start(): Promise<void> {
    for (let attempts = 3;; attempts--) {
      const server = await this.#spawn();
      this.#server = server;
      if (await server.ready(async () => (await server.log()).includes("ready to accept connections"))) return;
      await server.end("SIGKILL");
      const log = await server.log();
      // Another process took the port after it was chosen.
      if (attempts > 1 && log.includes("Address already in use")) this.port = freePort();
      else throw new Error(`PostgreSQL did not start:\n${log}`);
    }
  }

  /**
   * A data folder as `initdb` makes it, which is copied for each server, because `initdb` takes a second of processor
   * time. It is made once for each user and password, and kept for later runs.
   */
  async #newCluster(): Promise<string> {
    const { password } = this.#options;
    const identity = new TextEncoder().encode(JSON.stringify([this.#bin, this.#user, password, this.#account.uid]));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", identity)).toHex().slice(0, 16);
    const kept = `${Deno.env.get("TMPDIR") ?? "/tmp"}/lakebase-initdb-${digest}`;
    if (isFolder(kept)) return kept;
    const passwordFile = `${this.#home}/password`;
    if (password) await Deno.writeTextFile(passwordFile, password);
    if (password) await this.#giveAway(passwordFile);
    const login = password ? ["--auth=scram-sha-256", `--pwfile=${passwordFile}`] : ["--auth=trust"];
    const made = `${this.#home}/new`;
    const text = ["-E", "UTF8", "--no-locale"];
    await this.run("initdb", "-D", made, "-U", this.#user, ...text, "--no-sync", ...login);
    await Deno.rename(made, kept).catch((error) => { // another test may have made it meanwhile
      if (!isFolder(kept)) throw error;
    });
    return kept;
  }

  /** Runs one of PostgreSQL's own programs against this cluster. */
  async run(program: string, ...args: string[]): Promise<void> {
    await this.#program(`${this.#bin}/${program}`, ...args);
  }

  async #program(program: string, ...args: string[]): Promise<void> {
    const { success, stderr } = await new Deno.Command(program, {
      args,
      cwd: this.#home,
      env: this.#environment,
      ...this.#account,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(`${program} failed: ${new TextDecoder().decode(stderr)}`);
  }

  async log(): Promise<string> {
    return await this.#server?.log() ?? "";
  }

  async restart(): Promise<void> {
    await this.#server?.end("SIGINT");
    await this.start();
  }

  async kill(): Promise<void> {
    await this.#server?.end("SIGQUIT");
  }

  async stop(): Promise<void> {
    await this.#server?.end("SIGINT");
    await Deno.remove(this.#home, { recursive: true }).catch(ignoreNotFound);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #data(): string {
    return `${this.#home}/data`;
  }

  get #environment(): Record<string, string> {
    const { password } = this.#options;
    const server = { PGHOST: "127.0.0.1", PGPORT: String(this.port), PGUSER: this.#user };
    return { LC_ALL: "C", PGSSLMODE: "disable", ...server, ...(password ? { PGPASSWORD: password } : {}) };
  }

  async #spawn(): Promise<ServerProcess> {
    return await ServerProcess.start({
      command: `${this.#bin}/postgres`,
      args: ["-D", this.#data, "-p", String(this.port)],
      log: `${this.#home}/log`,
      cwd: this.#home,
      env: { LC_ALL: "C" },
      account: this.#account,
    });
  }

  async #writeCertificate(certificate: { cert: string; key: string }): Promise<Record<string, string>> {
    const files = { cert: `${this.#home}/server.crt`, key: `${this.#home}/server.key` };
    await Deno.writeTextFile(files.cert, certificate.cert);
    await Deno.writeTextFile(files.key, certificate.key, { mode: 0o600 });
    await this.#giveAway(files.cert, files.key);
    return { ssl: "on", ssl_cert_file: files.cert, ssl_key_file: files.key };
  }

  async #giveAway(...paths: string[]): Promise<void> {
    const { uid, gid } = this.#account;
    if (uid === undefined || gid === undefined) return;
    for (const path of paths) await Deno.chown(path, uid, gid);
  }
}

let programs: string | undefined;

/** The folder of PostgreSQL's programs: that on PATH, the newest one of Debian, or the one that `pg_config` names. */
export function postgresPrograms(): string | undefined {
  return programs ??= [...pathFolders(), ...debianFolders(), ...configuredFolder()].find((folder) =>
    ["initdb", "postgres", "createdb"].every((name) => isFile(`${folder}/${name}`))
  );
}

function pathFolders(): string[] {
  return (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
}

function debianFolders(): string[] {
  try {
    const versions = [...Deno.readDirSync("/usr/lib/postgresql")].map((entry) => entry.name);
    return versions.sort((a, b) => Number(b) - Number(a)).map((version) => `/usr/lib/postgresql/${version}/bin`);
  } catch {
    return [];
  }
}

function configuredFolder(): string[] {
  try {
    const { success, stdout } = new Deno.Command("pg_config", { args: ["--bindir"], stderr: "null" }).outputSync();
    return success ? [new TextDecoder().decode(stdout).trim()] : [];
  } catch {
    return [];
  }
}
