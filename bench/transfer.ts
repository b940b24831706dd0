/**
 * Compares pulls and loads with the alternatives that a user would choose, on a real PostgreSQL, without and with TLS.
 * Prints medians of 5 and ratios. Each comparison runs in its own process, as a script would, because leftovers in memory
 * would slow down the next one.
 * Run with `deno task bench` or `deno run -A --lock=tests/deno.lock bench/transfer.ts [comparison | memory]...`. The
 * comparisons that load files load the files that `pullCsv` and `pullFormats` wrote.
 */

import { connect } from "../mod.ts";
import { CertificateAuthority } from "../src/local/certificate.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { benchLogin, sixColumns } from "./support/database.ts";
import { peakMemory } from "./support/peak_memory.ts";
import { writeLargeGroups } from "./support/python.ts";
import {
  type BenchServer,
  COMPARISONS,
  type Line,
  runComparison,
  TLS_COMPARISONS,
} from "./support/transfer_comparisons.ts";

const ROWS = Number(Deno.env.get("LAKEBASE_BENCH_ROWS") ?? 1_000_000);
const MANY_ROWS = 10 * ROWS;
const NAMES = [...COMPARISONS, ...TLS_COMPARISONS, "memory"];

const chosen = Deno.args.length > 0 ? Deno.args : NAMES;
const unknown = chosen.find((name) => !NAMES.includes(name));
if (unknown !== undefined) {
  throw new Error(`There is no comparison ${unknown}; the comparisons are ${NAMES.join(", ")}`);
}

const authority = await CertificateAuthority.create();
await using server = await startPostgres({ password: "bench", certificate: authority.issue() });
const folder = await Deno.makeTempDir({ prefix: "lakebase-bench-" });
await Deno.writeTextFile(`${folder}/ca.pem`, authority.ca);
const benchServer: BenchServer = { port: server.port, password: "bench", folder, caFile: `${folder}/ca.pem` };

await prepare();
const lines: Line[] = [];
for (const tls of [false, true]) {
  for (const comparison of tls ? [...COMPARISONS, ...TLS_COMPARISONS] : COMPARISONS) {
    if (chosen.includes(comparison)) lines.push(...await runComparison(comparison, { ...benchServer, tls }));
  }
}
if (chosen.includes("memory")) lines.push(...await memory());
await Deno.remove(folder, { recursive: true });
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);

async function prepare(): Promise<void> {
  await using db = await connect({ ...benchLogin(server.port), sslMode: "verify-full", ca: authority.ca });
  const { sql } = db;
  await sql`CREATE TABLE bench AS ${sixColumns(db, ROWS)}`;
  await sql`CREATE TABLE copy (LIKE bench)`;
  await sql`VACUUM ANALYZE bench`;
  if (!chosen.includes("memory") && !chosen.includes("loadMany")) return;
  await sql`CREATE TABLE many AS ${sixColumns(db, MANY_ROWS)}`;
  await sql`VACUUM ANALYZE many`;
}

async function memory(): Promise<Line[]> {
  const lines: Line[] = [];
  const measure = async (action: "pull" | "load", table: string, file: string, what: string, limit: string) => {
    const login = { ...benchLogin(server.port), sslMode: "verify-full", ca: benchServer.caFile } as const;
    const { megabytes, seconds } = await peakMemory({ connect: login, action, table, file });
    lines.push({
      what: `TLS: resident memory, ${what}`,
      ours: `${megabytes.toFixed(0)} MB`,
      alternative: `in ${seconds.toFixed(1)} s`,
      ratio: "",
      limit,
    });
  };
  const rows = `${MANY_ROWS.toLocaleString("en")} rows`;
  const limits = { csv: ["200 MB", "200 MB"], arrow: ["", ""], parquet: ["", "400 MB"] } as const;
  for (const [format, [pulled, loaded]] of Object.entries(limits)) {
    await measure("pull", "many", `${folder}/many.${format}`, `${rows} to .${format}`, pulled);
    await measure("load", `many_${format}`, `${folder}/many.${format}`, `${rows} from .${format}`, loaded);
  }
  const [groups, wide] = [`${folder}/groups.parquet`, `${folder}/wide.parquet`];
  if (await writeLargeGroups(`${folder}/many.parquet`, groups, wide)) {
    await measure("load", "groups", groups, `${rows} from .parquet, row groups of 1,000,000`, "400 MB");
    await measure("load", "wide", wide, "1,000,000 rows of 30 texts from .parquet, one row group", "900 MB");
  }
  return lines;
}
