import pg from "pg";
import { connect, type Lakebase } from "../../mod.ts";
import { type LocalLakebase, type LocalOptions, startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "./lakebase.ts";
import { type PostgresOptions, type PostgresServer, startPostgres } from "./postgres.ts";

// The test files of a process share their servers, because starting a PGlite takes two seconds of processor time. Each
// file finds the servers in a fresh state.

/** A server, and the test file that used it last. */
interface Shared<Server> {
  server: Server;
  file: string;
}

const embedded = new Map<string, Promise<Shared<LocalLakebase>>>();
const clusters = new Map<string, Promise<Shared<PostgresServer>>>();
const gateways = new Map<string, Promise<Shared<LocalLakebase>>>();

Deno.test.afterAll(async () => {
  for (const servers of [embedded, gateways]) {
    for (const shared of servers.values()) await (await shared).server.close();
  }
  for (const shared of clusters.values()) await (await shared).server.stop();
  await (await databaseServer)?.stop();
});

/** The PostgreSQL server for the databases that belong to one test each. */
let databaseServer: Promise<PostgresServer> | undefined;
let databases = 0;

/** The URL of a new database, on a PostgreSQL server for all tests of this process. */
export async function newDatabase(): Promise<string> {
  const { url } = await (databaseServer ??= startPostgres({ maxConnections: 100 }));
  const name = `own_${++databases}`;
  const client = new pg.Client({ connectionString: url, ssl: false });
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${name}`);
  } finally {
    await client.end();
  }
  return new URL(name, url).href;
}

/** The test file that is being loaded, whose functions are on the stack. */
export function loadingFile(): string {
  return /[^\s(]+_test\.ts/.exec(new Error().stack ?? "")?.[0] ?? "";
}

/** A Lakebase on PGlite, without the tables and roles of earlier files. */
export async function sharedPGlite(options: LocalOptions, file: string): Promise<LocalLakebase> {
  const key = JSON.stringify(options);
  const start = async () => ({ server: await startLocal(options), file });
  if (!embedded.has(key)) embedded.set(key, start());
  const shared = await embedded.get(key)!;
  if (shared.file !== file) {
    shared.server.faults.reset();
    const empty = async () => {
      await using db = await connect({ ...optionsOf(shared.server), connectTimeout: 30 });
      await dropContent(db, Object.keys(options.passwords ?? {}));
    };
    await empty().catch(async () => {
      await shared.server.close();
      embedded.set(key, start());
    });
    shared.file = file;
  }
  return (await embedded.get(key)!).server;
}

/** A PostgreSQL server, with new databases for each file. */
export async function sharedCluster(options: PostgresOptions, file: string): Promise<PostgresServer> {
  const key = JSON.stringify(options);
  if (!clusters.has(key)) clusters.set(key, startPostgres(options).then((server) => ({ server, file })));
  const shared = await clusters.get(key)!;
  if (shared.file !== file) {
    shared.file = file;
    await resetCluster(shared.server, options);
  }
  return shared.server;
}

/** A Lakebase on a shared PostgreSQL server. */
export async function sharedGateway(
  options: LocalOptions,
  cluster: PostgresOptions,
  file: string,
): Promise<LocalLakebase> {
  const { url } = await sharedCluster(cluster, file);
  const key = JSON.stringify([options, cluster]);
  const before = await gateways.get(key);
  if (before?.file !== file) {
    await before?.server.close();
    gateways.set(key, startLocal({ ...options, database: url }).then((server) => ({ server, file })));
  }
  return (await gateways.get(key)!).server;
}

/**
 * Drops the content of a local Lakebase. Rejects if something can't be dropped.
 *
 * @param kept The roles that stay, besides the user's own.
 */
export async function dropContent(db: Lakebase, kept: readonly string[] = []): Promise<void> {
  await db.sql`DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
      EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    COMMENT ON SCHEMA public IS 'standard public schema';
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    ALTER DATABASE databricks_postgres RESET ALL;
  END $$`;
  await db.sql`ALTER ROLE CURRENT_USER RESET ALL`;
  const known = ["postgres", "databricks_superuser", ...kept];
  const made = await db.sql<{ name: string }>`SELECT rolname::text AS name FROM pg_roles
    WHERE rolname !~ '^pg_' AND rolname <> current_user AND NOT rolname = ANY(${known}::text[])`;
  for (const { name } of made) await db.sql`DROP ROLE ${db.sql.id(name)}`;
}

/** Replaces every database, and drops every role, in which a file may have left something. */
async function resetCluster(server: PostgresServer, { user = "postgres", database }: PostgresOptions): Promise<void> {
  const url = new URL(server.url);
  url.pathname = "/template1";
  const client = new pg.Client({ connectionString: url.href, ssl: false });
  await client.connect();
  try {
    const databases = await client.query("SELECT datname AS name FROM pg_database WHERE NOT datistemplate");
    for (const { name } of databases.rows) {
      await client.query(`DROP DATABASE ${client.escapeIdentifier(name)} WITH (FORCE)`);
    }
    for (const name of new Set(["postgres", database ?? "postgres"])) {
      await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`);
    }
    const roles = await client.query("SELECT rolname AS name FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> $1", [
      user,
    ]);
    for (const { name } of roles.rows) await client.query(`DROP ROLE ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}
