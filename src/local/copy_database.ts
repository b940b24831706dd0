import { randomBytes } from "node:crypto";
import type pg from "npm:pg@8.23.1";
import { quoteName } from "../core/sql_text.ts";
import { ApiError } from "./api_json.ts";
import { quoteLiteral } from "./database.ts";

/**
 * Copies a database of a Postgres server, with the owners and privileges of its objects.
 *
 * `CREATE DATABASE ... TEMPLATE` is fastest, but the server refuses it while another session uses the template. Then
 * `pg_dump` copies a snapshot of the data.
 *
 * @param client A session of a user that may create databases.
 * @param source The name of the database to copy.
 * @param url The server.
 * @returns The name of the copy.
 * @throws {ApiError} If sessions use the source and `pg_dump` is not found, or if it fails.
 */
export async function copyDatabase(client: pg.Client, source: string, url: URL): Promise<string> {
  const name = `lakebase_branch_${randomBytes(8).toString("hex")}`;
  try {
    await copyFiles(client, source, name) || await copyRows(client, source, name, url);
    await copySettings(client, source, name);
    return name;
  } catch (error) {
    await client.query(`DROP DATABASE IF EXISTS ${quoteName(name)} WITH (FORCE)`);
    throw error;
  }
}

/** Copies the files of a database. Returns false if another session uses it. */
async function copyFiles(client: pg.Client, source: string, target: string): Promise<boolean> {
  if (await isInUse(client, source)) return false; // the server would wait five seconds for the sessions to end
  try {
    await client.query(`CREATE DATABASE ${quoteName(target)} TEMPLATE ${quoteName(source)}`);
    return true;
  } catch (error) {
    if ((error as Partial<pg.DatabaseError>).code === OBJECT_IN_USE) return false;
    throw error;
  }
}

async function isInUse(client: pg.Client, database: string): Promise<boolean> {
  const { rowCount } = await client.query(
    "SELECT FROM pg_catalog.pg_stat_activity WHERE datname OPERATOR(pg_catalog.=) $1 " +
      "AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() " +
      "AND backend_type OPERATOR(pg_catalog.=) 'client backend'",
    [database],
  );
  return rowCount !== 0;
}

/** Copies a database with `pg_dump` and `pg_restore`. */
async function copyRows(client: pg.Client, source: string, target: string, url: URL): Promise<void> {
  const programs = await findPrograms(client);
  if (programs === undefined) throw new ApiError(400, "BAD_REQUEST", PROGRAMS_NOT_FOUND);
  await client.query(`CREATE DATABASE ${quoteName(target)} TEMPLATE template0 ${await localeOptions(client, source)}`);
  await pipeDump(programs, source, target, url);
}

const OBJECT_IN_USE = "55006";
const PROGRAMS_NOT_FOUND =
  "The database can't be copied while sessions use it, because pg_dump and pg_restore were not found. " +
  "Install the client programs of the server's version of PostgreSQL, or close all other sessions";

/** The paths of `pg_dump` and `pg_restore`. */
interface Programs {
  dump: string;
  restore: string;
}

/**
 * The folders of a version's programs. Debian installs each version in a folder of its own, and its wrapper on the path may
 * choose an older one.
 */
function programFolders(major: number): string[] {
  return [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
    `/usr/local/opt/postgresql@${major}/bin`,
  ];
}

/** Finds programs of the server's version or a newer one. */
async function findPrograms(client: pg.Client): Promise<Programs | undefined> {
  const { rows } = await client.query("SHOW server_version_num");
  const major = Math.trunc(Number(rows[0]?.server_version_num) / 10_000);
  for (const folder of ["", ...programFolders(major).map((folder) => `${folder}/`)]) {
    const programs = { dump: `${folder}pg_dump`, restore: `${folder}pg_restore` };
    const versions = await Promise.all([programs.dump, programs.restore].map(majorVersion));
    if (versions.every((version) => version >= major)) return programs;
  }
}

/** The version of a program of PostgreSQL; 0 if it can't be run. */
async function majorVersion(program: string): Promise<number> {
  const run = async () => await new Deno.Command(program, { args: ["--version"], stderr: "null" }).output();
  const { stdout } = await run().catch(() => ({ stdout: new Uint8Array() })); // the program does not exist
  return Number(/\d+/.exec(new TextDecoder().decode(stdout))?.[0] ?? 0);
}

/** The encoding and locale of a database as options of CREATE DATABASE. */
async function localeOptions(client: pg.Client, source: string): Promise<string> {
  // JSON, because the columns for ICU and built-in locales have other names in other versions.
  const { rows } = await client.query(
    "SELECT pg_catalog.to_jsonb(d) AS database, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding " +
      "FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) $1",
    [source],
  );
  const { database, encoding } = rows[0];
  const { datcollate, datctype, datlocprovider, datlocale, daticulocale } = database;
  const locale = quoteLiteral(datlocale ?? daticulocale ?? "");
  const provider = datlocprovider === "i"
    ? ` LOCALE_PROVIDER icu ICU_LOCALE ${locale}`
    : datlocprovider === "b"
    ? ` LOCALE_PROVIDER builtin BUILTIN_LOCALE ${locale}`
    : "";
  return `ENCODING ${quoteLiteral(encoding)} LC_COLLATE ${quoteLiteral(datcollate)} LC_CTYPE ${
    quoteLiteral(datctype)
  }${provider}`;
}

/** Copies the settings of `ALTER [ROLE ... IN] DATABASE ... SET`, which neither a template nor a dump includes. */
async function copySettings(client: pg.Client, source: string, target: string): Promise<void> {
  const { rows } = await client.query(
    `SELECT r.rolname AS role, pg_catalog.unnest(s.setconfig) AS setting FROM pg_catalog.pg_db_role_setting AS s
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) s.setrole
      JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
      WHERE d.datname OPERATOR(pg_catalog.=) $1`,
    [source],
  );
  for (const { role, setting } of rows) {
    const [name, value] = [setting.slice(0, setting.indexOf("=")), setting.slice(setting.indexOf("=") + 1)];
    const object = role === null ? "DATABASE" : `ROLE ${quoteName(role)} IN DATABASE`;
    // "FROM CURRENT", because the text of a list such as search_path can't be written as one literal.
    await client.query("BEGIN");
    await client.query("SELECT pg_catalog.set_config($1, $2, true)", [name, value]);
    await client.query(
      `ALTER ${object} ${quoteName(target)} SET ${name.split(".").map(quoteName).join(".")} FROM CURRENT`,
    );
    await client.query("COMMIT");
  }
}

/** Pipes `pg_dump` into `pg_restore`. */
async function pipeDump({ dump, restore }: Programs, source: string, target: string, url: URL): Promise<void> {
  const dumping = new Deno.Command(dump, {
    args: ["--format=custom", "--compress=0", "--no-password", "--lock-wait-timeout=30s"],
    clearEnv: true,
    env: environment(url, source),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const restoring = new Deno.Command(restore, {
    // The generated name needs no quoting. Without --dbname, pg_restore would write to its standard output.
    args: ["--exit-on-error", "--single-transaction", "--no-password", `--dbname=${target}`],
    clearEnv: true,
    env: environment(url, target),
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const piping = dumping.stdout.pipeTo(restoring.stdin).catch(() => {}); // the failed program's output says more
  const [dumpFailure, restoreFailure] = await Promise.all([processFailure(dumping), processFailure(restoring), piping]);
  // A failure of pg_dump comes first, because it makes pg_restore fail, too.
  for (const [program, failure] of [["pg_dump", dumpFailure], ["pg_restore", restoreFailure]]) {
    if (failure !== undefined) throw new ApiError(500, "INTERNAL_ERROR", `${program} failed: ${failure}`);
  }
}

/** Waits for the end of a process. Returns what it wrote to stderr if it failed; `undefined` if it succeeded. */
async function processFailure(process: Deno.ChildProcess): Promise<string | undefined> {
  const stderr = await new Response(process.stderr).text();
  const { success, code } = await process.status;
  return success ? undefined : stderr.trim().slice(0, 500) || `exit code ${code}`;
}

/** The environment for libpq. It has the password, because every user of this machine can see a program's arguments. */
function environment(url: URL, database: string): Record<string, string> {
  const inherited = ["PATH", "LD_LIBRARY_PATH", "SYSTEMROOT"].flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return {
    ...Object.fromEntries(inherited),
    PGHOST: url.searchParams.get("host") ?? decodeURIComponent(url.hostname).replace(/^\[|\]$/g, ""),
    PGPORT: url.port || "5432",
    PGUSER: decodeURIComponent(url.username),
    PGPASSWORD: decodeURIComponent(url.password),
    PGDATABASE: database,
    PGSSLMODE: url.searchParams.get("sslmode") ?? "prefer",
  };
}
