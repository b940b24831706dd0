/**
 * Compares pulls to a Volume, and loads from one, with those of a file on this machine, on a real PostgreSQL. The
 * Volume belongs to a local Lakebase in a separate process. Prints medians of 5, ratios, and peak memory.
 * Run with `deno run -A --v8-flags=--expose-gc bench/volumes.ts`.
 */

import { connect, type Lakebase } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { medianTimes } from "./support/timing.ts";
import { benchLogin, sixColumns } from "./support/database.ts";
import { peakMemory, workspaceClient, type WorkspaceLogin } from "./support/peak_memory.ts";

const ROWS = Number(Deno.env.get("LAKEBASE_BENCH_ROWS") ?? 1_000_000);
const VOLUME = "/Volumes/main/raw/landing";

const FORMATS = (Deno.env.get("LAKEBASE_BENCH_FORMATS") ?? "csv,arrow,parquet").split(",");

await using server = await startPostgres({ password: "bench" });
const folder = await Deno.makeTempDir({ prefix: "lakebase-bench-" });
const workspace = await startWorkspace(server.url, `${folder}/volumes`);
/** The login of the server itself. The workspace is for the Volume. */
const LOGIN = benchLogin(server.port);
const lines: Record<string, string>[] = [];
{
  await using db = await connect({ ...LOGIN, workspace: workspaceClient(workspace.login) });
  await prepare(db);
  for (const format of FORMATS) lines.push(...await compareTransfers(db, folder, format));
}
for (const format of FORMATS) {
  for (const action of ["pull", "load"] as const) lines.push(await peak(action, `${VOLUME}/many.${format}`));
}
workspace.stop();
await Deno.remove(folder, { recursive: true });
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);

async function compareTransfers(db: Lakebase, folder: string, format: string): Promise<Record<string, string>[]> {
  const [file, stored] = [`${folder}/t.${format}`, `${VOLUME}/t.${format}`];
  const load = (path: string) => async () => {
    await db.sql`TRUNCATE copy`;
    const started = performance.now();
    await db.load("copy", path);
    return performance.now() - started;
  };
  const times = await medianTimes({
    file: async () => void await db.pull("bench", file),
    volume: async () => void await db.pull("bench", stored),
    fromFile: load(file),
    fromVolume: load(stored),
  });
  const line = (what: string, here: number, there: number) => ({
    what,
    volume: `${there.toFixed(0)} ms`,
    file: `${here.toFixed(0)} ms`,
    ratio: (there / here).toFixed(2),
    limit: "1.15",
  });
  return [line(`pull .${format}`, times.file, times.volume), line(`load .${format}`, times.fromFile, times.fromVolume)];
}

async function peak(action: "pull" | "load", file: string): Promise<Record<string, string>> {
  const table = action === "pull" ? "many" : `many_${file.slice(-3)}`;
  const { megabytes, seconds } = await peakMemory({ connect: LOGIN, workspace: workspace.login, action, table, file });
  const what = `${action} ${file.slice(file.lastIndexOf("/") + 1)}, ${10 * ROWS} rows: memory`;
  return { what, volume: `${megabytes.toFixed(0)} MB`, file: `in ${seconds.toFixed(1)} s`, ratio: "", limit: "250 MB" };
}

/** Starts a local Lakebase in a separate process. */
async function startWorkspace(url: string, volumes: string): Promise<{ login: WorkspaceLogin; stop(): void }> {
  const cli = decodeURIComponent(new URL("../src/cli/main.ts", import.meta.url).pathname);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", cli, "local", "--volumes-dir", volumes],
    env: { LAKEBASE_LOCAL_DATABASE: url },
    stdout: "piped",
  }).spawn();
  let text = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  while (!text.includes("PGSSLROOTCERT")) text += (await reader.read()).value ?? "";
  const value = (name: string) => new RegExp(`^export ${name}=(.*)$`, "m").exec(text)![1]!;
  return {
    login: { host: value("DATABRICKS_HOST"), token: value("DATABRICKS_TOKEN") },
    stop: () => child.kill(),
  };
}

async function prepare(db: Lakebase): Promise<void> {
  const { sql } = db;
  await sql`CREATE TABLE bench AS ${sixColumns(db, ROWS)}`;
  await sql`CREATE TABLE many AS ${sixColumns(db, 10 * ROWS)}`;
  await sql`CREATE TABLE copy (LIKE bench)`;
  await sql`VACUUM ANALYZE bench`;
}
