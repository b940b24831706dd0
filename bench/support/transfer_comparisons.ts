// @ts-types="@types/pg"
import pg from "pg";
import copyStreams from "npm:pg-copy-streams@7.0.0";
import postgres from "npm:postgres@3.4.9";
import { connect, type Lakebase, type PullOptions } from "../../mod.ts";

import { type PsqlTarget, psqlTime } from "./psql.ts";
import { pythonLoadTimes, pythonTimes } from "./python.ts";
import { startSlowLink } from "./slow_link.ts";
import { medianTimes, type Method } from "./timing.ts";

/** The server and the folder of the files. */
export interface BenchServer {
  port: number;
  password: string;
  /** The folder for written files. */
  folder: string;
  /** The authority's certificate. */
  caFile: string;
}

/** The environment of one comparison. */
export interface Environment extends BenchServer {
  tls: boolean;
}

/** One row of the table that is printed. */
export interface Line {
  what: string;
  ours: string;
  /** The time of the alternative, and its name. */
  alternative: string;
  ratio: string;
  limit: string;
}

/** The lock that holds `pg-copy-streams` and `postgres`. */
const LOCK = `--lock=${decodeURIComponent(new URL("../../tests/deno.lock", import.meta.url).pathname)}`;

/** The latency of one way, in milliseconds: a round trip takes twice that. */
const LINK_DELAY = 20;

/** The number of files in a folder. */
const FILES = 100;

const RUN = {
  pullCsv,
  pullNdjson,
  pullFormats,
  readColumns,
  loadCsv,
  loadObjects,
  loadParquet,
  loadFolders,
  slowLink,
  loadMany,
};

/** A comparison. */
export type Comparison = keyof typeof RUN;

/** The comparisons that are made with and without TLS. */
export const COMPARISONS: readonly Comparison[] = [
  "pullCsv",
  "pullNdjson",
  "pullFormats",
  "readColumns",
  "loadCsv",
  "loadObjects",
  "loadParquet",
  "loadFolders",
];

/** The comparisons that are made with TLS only. */
export const TLS_COMPARISONS: readonly Comparison[] = ["slowLink", "loadMany"];

/** Makes a comparison in a separate process. */
export async function runComparison(comparison: Comparison, environment: Environment): Promise<Line[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", LOCK, "--v8-flags=--expose-gc", import.meta.url, comparison, JSON.stringify(environment)],
    stdin: "null",
  }).output();
  if (!success) throw new Error(`${comparison}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

if (import.meta.main) {
  const environment = JSON.parse(Deno.args[1]!) as Environment;
  const lines: Line[] = [];
  {
    await using db = await open(environment);
    await RUN[Deno.args[0] as Comparison](db, environment, (what, ours, alternative, theirs, limit) => {
      const ratio = (ours / theirs).toFixed(2);
      const wire = environment.tls ? "TLS" : "no TLS";
      lines.push({
        what: `${wire}: ${what}`,
        ours: `${ours.toFixed(0)} ms`,
        alternative: `${theirs.toFixed(0)} ms: ${alternative}`,
        ratio,
        limit: limit === undefined ? "" : `${limit}`,
      });
    });
  }
  await new Blob([JSON.stringify(lines)]).stream().pipeTo(Deno.stdout.writable);
}

type Report = (what: string, ours: number, alternative: string, theirs: number, limit?: number) => void;

async function open({ port, password, tls, caFile }: Environment): Promise<Lakebase> {
  const to = { host: "127.0.0.1", port, user: "postgres", database: "postgres", password };
  return await connect({ ...to, ...(tls ? { ca: caFile } : { sslMode: "disable" as const }) });
}

function urlOf({ port, password, tls }: Environment): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres?sslmode=${tls ? "require" : "disable"}`;
}

function psqlTarget({ port, password, tls, caFile }: Environment): PsqlTarget {
  return { port, password, ca: tls ? caFile : undefined };
}

function pulling(db: Lakebase, { folder }: Environment): (file: string, options?: PullOptions) => Method {
  return (file, options = {}) => async () => void await db.pull("bench", `${folder}/${file}`, options);
}

async function pullCsv(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const copy = `\\copy bench to '${environment.folder}/from-psql.csv' with (format csv, header)`;
  const times = await medianTimes({
    psql: () => psqlTime(copy, psqlTarget(environment)),
    ours: pulling(db, environment)("ours.csv"),
  });
  report("pull .csv", times.ours, "psql \\copy", times.psql, 1.1);
}

async function pullNdjson(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const copy = `\\copy (select row_to_json(t) from bench t) to '${environment.folder}/from-psql.ndjson'`;
  const times = await medianTimes({
    psql: () => psqlTime(copy, psqlTarget(environment)),
    ours: pulling(db, environment)("ours.ndjson"),
  });
  report("pull .ndjson", times.ours, "psql \\copy of row_to_json", times.psql, 0.9);
}

async function pullFormats(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const pull = pulling(db, environment);
  const times = await medianTimes({
    csv: pull("ours.csv"),
    two: pull("two.csv", { parallel: 2 }),
    arrow: pull("ours.arrow"),
    parquet: pull("ours.parquet"),
  });
  report("pull .csv, parallel 2", times.two, "parallel 1", times.csv, 1);
  report("pull .arrow", times.arrow, "pull .csv", times.csv, 1.6);
  report("pull .parquet", times.parquet, "pull .csv", times.csv, 2.5);
}

async function readColumns(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const { port, password, tls, caFile } = environment;
  const ssl = tls ? { ca: await Deno.readTextFile(caFile) } : false;
  const login = { host: "127.0.0.1", port, user: "postgres", database: "postgres", password };
  const raw = new pg.Client({ ...login, ssl });
  await raw.connect();
  const other = postgres({ ...login, max: 1, ssl });
  const times = await medianTimes({
    columns: async () => void await db.sql`SELECT * FROM bench`.columns(),
    pg: async () => void await raw.query("SELECT * FROM bench"),
    postgresJs: async () => void await other`SELECT * FROM bench`,
    stream: async () => {
      await raw.query("SELECT 1"); // without it a second COPY on one client waits forever, under Deno
      for await (const _ of raw.query(copyStreams.to("COPY bench TO STDOUT (FORMAT binary)")));
    },
  });
  await raw.end();
  await other.end();
  report("columns()", times.columns, "pg, row objects", times.pg, 0.3);
  report("columns()", times.columns, "postgres.js, row objects", times.postgresJs, 0.45);
  report("columns()", times.columns, "pg-copy-streams, bytes dropped", times.stream, 1.4);
  for (const [name, python] of Object.entries(await pythonTimes(urlOf(environment), "SELECT * FROM bench") ?? {})) {
    report("columns()", times.columns, `${name}, Python, to Arrow`, python);
  }
}

/** A load into an empty table, without the time of emptying it. */
function intoEmptyTable(db: Lakebase, run: Method): Method {
  return async () => {
    await db.sql`TRUNCATE copy`;
    const started = performance.now();
    return await run() ?? performance.now() - started;
  };
}

async function loadCsv(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const csv = `${environment.folder}/from-psql.csv`;
  const times = await medianTimes({
    psql: intoEmptyTable(
      db,
      () => psqlTime(`\\copy copy from '${csv}' with (format csv, header)`, psqlTarget(environment)),
    ),
    ours: intoEmptyTable(db, async () => void await db.load("copy", csv)),
  });
  report("load .csv", times.ours, "psql \\copy from", times.psql, 1.1);
}

async function loadObjects(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const rows = [...await db.query("SELECT * FROM bench")];
  const copy = `\\copy copy from '${environment.folder}/from-psql.csv' with (format csv, header)`;
  const times = await medianTimes({
    psql: intoEmptyTable(db, () => psqlTime(copy, psqlTarget(environment))),
    objects: intoEmptyTable(db, async () => void await db.load("copy", rows)),
  });
  report("load row objects", times.objects, "psql \\copy from, of .csv", times.psql, 3);
}

async function loadParquet(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const { folder } = environment;
  const copy = `\\copy copy from '${folder}/from-psql.csv' with (format csv, header)`;
  const times = await medianTimes({
    psql: intoEmptyTable(db, () => psqlTime(copy, psqlTarget(environment))),
    csv: intoEmptyTable(db, async () => void await db.load("copy", `${folder}/from-psql.csv`)),
    parquet: intoEmptyTable(db, async () => void await db.load("copy", `${folder}/ours.parquet`)),
  });
  report("load .parquet", times.parquet, "psql \\copy from, of .csv", times.psql);
  report("load .parquet", times.parquet, "load .csv", times.csv, 1.05);
  for (
    const [name, python] of Object.entries(await pythonLoadTimes(urlOf(environment), `${folder}/ours.parquet`) ?? {})
  ) {
    report("load .parquet", times.parquet, name, python, 1);
  }
}

async function loadFolders(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const rowsPerFile = Math.ceil(Number(await db.sql`SELECT count(*) FROM bench`.value()) / FILES);
  for (const format of ["csv", "parquet"] as const) {
    const [file, many] = [
      `${environment.folder}/ours.${format}`,
      `${environment.folder}/files-${environment.tls}-${format}/`,
    ];
    await db.pull("bench", many, { format, rowsPerFile });
    const times = await medianTimes({
      one: intoEmptyTable(db, async () => void await db.load("copy", file)),
      many: intoEmptyTable(db, async () => void await db.load("copy", many)),
    });
    report(`load ${FILES} .${format} files`, times.many, "one file of the same rows", times.one, 1.05);
  }
}

/** A link with latency shows how much data is on its way at once. */
async function slowLink(_db: Lakebase, environment: Environment, report: Report): Promise<void> {
  await using link = await startSlowLink(environment.port, LINK_DELAY);
  const behindLink = { ...environment, port: link.port };
  await using db = await open(behindLink);
  const pull = pulling(db, behindLink);
  const copy = `\\copy bench to '${environment.folder}/from-psql.csv' with (format csv, header)`;
  const times = await medianTimes({
    psql: () => psqlTime(copy, psqlTarget(behindLink)),
    one: pull("slow.csv"),
    two: pull("slow-two.csv", { parallel: 2 }),
  });
  report(`pull .csv over ${2 * LINK_DELAY} ms`, times.one, "psql \\copy", times.psql, 1.2);
  report(`pull .csv over ${2 * LINK_DELAY} ms, parallel 2`, times.two, "psql \\copy", times.psql, 1.2);
}

/** Ten times as many rows. */
async function loadMany(db: Lakebase, environment: Environment, report: Report): Promise<void> {
  const csv = `${environment.folder}/many-rows.csv`;
  const { rows } = await db.pull("many", csv);
  const copy = `\\copy copy from '${csv}' with (format csv, header)`;
  const times = await medianTimes({
    psql: intoEmptyTable(db, () => psqlTime(copy, psqlTarget(environment))),
    ours: intoEmptyTable(db, async () => void await db.load("copy", csv)),
  }, 3);
  await Deno.remove(csv);
  report(`load .csv of ${rows.toLocaleString("en")} rows`, times.ours, "psql \\copy from", times.psql, 1.05);
}
