// @ts-types="@types/pg"
import pg from "pg";
import copyStreams from "npm:pg-copy-streams@7.0.0";
import postgres from "npm:postgres@3.4.9";
import { connect, type Lakebase, type PullOptions } from "../../mod.ts";
import { type Contender, contest } from "./contest.ts";
import { type PsqlTarget, psqlTime } from "./psql.ts";
import { pythonLoadTimes, pythonTimes } from "./python.ts";
import { startSlowLink } from "./slow_link.ts";

/** The server and the folder of the files. */
export interface Place {
  port: number;
  password: string;
  /** The folder for written files. */
  folder: string;
  /** The authority's certificate. */
  caFile: string;
}

/** The environment of one comparison. */
export interface Setting extends Place {
  tls: boolean;
}

/** One row of the table that is printed. */
export interface Line {
  what: string;
  ours: string;
  beside: string;
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
export type Part = keyof typeof RUN;

/** The comparisons that are made with and without TLS. */
export const PARTS: readonly Part[] = [
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
export const TLS_PARTS: readonly Part[] = ["slowLink", "loadMany"];

/** Makes a comparison in a separate process. */
export async function runPart(part: Part, setting: Setting): Promise<Line[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", LOCK, "--v8-flags=--expose-gc", import.meta.url, part, JSON.stringify(setting)],
    stdin: "null",
  }).output();
  if (!success) throw new Error(`${part}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

if (import.meta.main) {
  const setting = JSON.parse(Deno.args[1]!) as Setting;
  const lines: Line[] = [];
  {
    await using db = await open(setting);
    await RUN[Deno.args[0] as Part](db, setting, (what, ours, beside, theirs, limit) => {
      const ratio = (ours / theirs).toFixed(2);
      const wire = setting.tls ? "TLS" : "no TLS";
      lines.push({
        what: `${wire}: ${what}`,
        ours: `${ours.toFixed(0)} ms`,
        beside: `${theirs.toFixed(0)} ms: ${beside}`,
        ratio,
        limit: limit === undefined ? "" : `${limit}`,
      });
    });
  }
  await new Blob([JSON.stringify(lines)]).stream().pipeTo(Deno.stdout.writable);
}

type Say = (what: string, ours: number, beside: string, theirs: number, limit?: number) => void;

async function open({ port, password, tls, caFile }: Setting): Promise<Lakebase> {
  const to = { host: "127.0.0.1", port, user: "postgres", database: "postgres", password };
  return await connect({ ...to, ...(tls ? { ca: caFile } : { sslMode: "disable" as const }) });
}

function urlOf({ port, password, tls }: Setting): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres?sslmode=${tls ? "require" : "disable"}`;
}

function psqlTarget({ port, password, tls, caFile }: Setting): PsqlTarget {
  return { port, password, ca: tls ? caFile : undefined };
}

function pulling(db: Lakebase, { folder }: Setting): (file: string, options?: PullOptions) => Contender {
  return (file, options = {}) => async () => void await db.pull("bench", `${folder}/${file}`, options);
}

async function pullCsv(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const copy = `\\copy bench to '${setting.folder}/from-psql.csv' with (format csv, header)`;
  const took = await contest({
    psql: () => psqlTime(copy, psqlTarget(setting)),
    ours: pulling(db, setting)("ours.csv"),
  });
  say("pull .csv", took.ours, "psql \\copy", took.psql, 1.1);
}

async function pullNdjson(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const copy = `\\copy (select row_to_json(t) from bench t) to '${setting.folder}/from-psql.ndjson'`;
  const took = await contest({
    psql: () => psqlTime(copy, psqlTarget(setting)),
    ours: pulling(db, setting)("ours.ndjson"),
  });
  say("pull .ndjson", took.ours, "psql \\copy of row_to_json", took.psql, 0.9);
}

async function pullFormats(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const pull = pulling(db, setting);
  const took = await contest({
    csv: pull("ours.csv"),
    two: pull("two.csv", { parallel: 2 }),
    arrow: pull("ours.arrow"),
    parquet: pull("ours.parquet"),
  });
  say("pull .csv, parallel 2", took.two, "parallel 1", took.csv, 1);
  say("pull .arrow", took.arrow, "pull .csv", took.csv, 1.6);
  say("pull .parquet", took.parquet, "pull .csv", took.csv, 2.5);
}

async function readColumns(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const { port, password, tls, caFile } = setting;
  const ssl = tls ? { ca: await Deno.readTextFile(caFile) } : false;
  const login = { host: "127.0.0.1", port, user: "postgres", database: "postgres", password };
  const raw = new pg.Client({ ...login, ssl });
  await raw.connect();
  const other = postgres({ ...login, max: 1, ssl });
  const took = await contest({
    columns: async () => void await db.sql`SELECT * FROM bench`.columns(),
    pg: async () => void await raw.query("SELECT * FROM bench"),
    postgresJs: async () => void await other`SELECT * FROM bench`,
    stream: async () => {
      await raw.query("SELECT 1"); // without it a second COPY on one client waits for ever, under Deno
      for await (const _ of raw.query(copyStreams.to("COPY bench TO STDOUT (FORMAT binary)")));
    },
  });
  await raw.end();
  await other.end();
  say("columns()", took.columns, "pg, row objects", took.pg, 0.3);
  say("columns()", took.columns, "postgres.js, row objects", took.postgresJs, 0.45);
  say("columns()", took.columns, "pg-copy-streams, bytes dropped", took.stream, 1.4);
  for (const [name, python] of Object.entries(await pythonTimes(urlOf(setting), "SELECT * FROM bench") ?? {})) {
    say("columns()", took.columns, `${name}, Python, to Arrow`, python);
  }
}

/** Each run loads into an empty table. */
function emptied(db: Lakebase, run: Contender): Contender {
  return async () => {
    await db.sql`TRUNCATE copy`;
    const started = performance.now();
    return await run() ?? performance.now() - started;
  };
}

async function loadCsv(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const csv = `${setting.folder}/from-psql.csv`;
  const took = await contest({
    psql: emptied(db, () => psqlTime(`\\copy copy from '${csv}' with (format csv, header)`, psqlTarget(setting))),
    ours: emptied(db, async () => void await db.load("copy", csv)),
  });
  say("load .csv", took.ours, "psql \\copy from", took.psql, 1.1);
}

async function loadObjects(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const rows = [...await db.query("SELECT * FROM bench")];
  const copy = `\\copy copy from '${setting.folder}/from-psql.csv' with (format csv, header)`;
  const took = await contest({
    psql: emptied(db, () => psqlTime(copy, psqlTarget(setting))),
    objects: emptied(db, async () => void await db.load("copy", rows)),
  });
  say("load row objects", took.objects, "psql \\copy from, of .csv", took.psql, 3);
}

async function loadParquet(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const { folder } = setting;
  const copy = `\\copy copy from '${folder}/from-psql.csv' with (format csv, header)`;
  const took = await contest({
    psql: emptied(db, () => psqlTime(copy, psqlTarget(setting))),
    csv: emptied(db, async () => void await db.load("copy", `${folder}/from-psql.csv`)),
    parquet: emptied(db, async () => void await db.load("copy", `${folder}/ours.parquet`)),
  });
  say("load .parquet", took.parquet, "psql \\copy from, of .csv", took.psql);
  say("load .parquet", took.parquet, "load .csv", took.csv, 1.05);
  for (const [name, python] of Object.entries(await pythonLoadTimes(urlOf(setting), `${folder}/ours.parquet`) ?? {})) {
    say("load .parquet", took.parquet, name, python, 1);
  }
}

async function loadFolders(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const rowsPerFile = Math.ceil(Number(await db.sql`SELECT count(*) FROM bench`.value()) / FILES);
  for (const format of ["csv", "parquet"] as const) {
    const [file, many] = [`${setting.folder}/ours.${format}`, `${setting.folder}/files-${setting.tls}-${format}/`];
    await db.pull("bench", many, { format, rowsPerFile });
    const took = await contest({
      one: emptied(db, async () => void await db.load("copy", file)),
      many: emptied(db, async () => void await db.load("copy", many)),
    });
    say(`load ${FILES} .${format} files`, took.many, "one file of the same rows", took.one, 1.05);
  }
}

/** A link with latency shows how much data is on its way at once. */
async function slowLink(_db: Lakebase, setting: Setting, say: Say): Promise<void> {
  await using link = await startSlowLink(setting.port, LINK_DELAY);
  const far = { ...setting, port: link.port };
  await using db = await open(far);
  const pull = pulling(db, far);
  const copy = `\\copy bench to '${setting.folder}/from-psql.csv' with (format csv, header)`;
  const took = await contest({
    psql: () => psqlTime(copy, psqlTarget(far)),
    one: pull("slow.csv"),
    two: pull("slow-two.csv", { parallel: 2 }),
  });
  say(`pull .csv over ${2 * LINK_DELAY} ms`, took.one, "psql \\copy", took.psql, 1.2);
  say(`pull .csv over ${2 * LINK_DELAY} ms, parallel 2`, took.two, "psql \\copy", took.psql, 1.2);
}

/** Ten times as many rows. */
async function loadMany(db: Lakebase, setting: Setting, say: Say): Promise<void> {
  const csv = `${setting.folder}/many-rows.csv`;
  const { rows } = await db.pull("many", csv);
  const copy = `\\copy copy from '${csv}' with (format csv, header)`;
  const took = await contest({
    psql: emptied(db, () => psqlTime(copy, psqlTarget(setting))),
    ours: emptied(db, async () => void await db.load("copy", csv)),
  }, 3);
  await Deno.remove(csv);
  say(`load .csv of ${rows.toLocaleString("en")} rows`, took.ours, "psql \\copy from", took.psql, 1.05);
}
