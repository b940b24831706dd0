/**
 * Compares queries of a SQL warehouse with the minimum that a client must do: `fetch` of the API and of the links, and
 * a load of an Arrow file. The warehouse is local, on a real PostgreSQL, in a separate process. The two take turns,
 * and the result is the median of each round's ratio, so that other load on the machine affects both equally.
 * Run with `deno task bench` or `deno run -A bench/lakehouse.ts`.
 */

import { connect } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { median, timed } from "./support/timing.ts";
import { peakMemory } from "./support/peak_memory.ts";

const ROWS = Number(Deno.env.get("LAKEBASE_BENCH_ROWS") ?? 1_000_000);
const ROUNDS = 7;

const SERVER = `
import { startLocal } from "${new URL("../src/local/mod.ts", import.meta.url)}";
const local = await startLocal({ database: Deno.args[0], warehouses: [{ name: "bench" }] });
console.log(JSON.stringify(local.env));
`;

await using server = await startPostgres({ database: "databricks_postgres", password: "bench" });
const script = await Deno.makeTempFile({ suffix: ".ts" });
await Deno.writeTextFile(script, SERVER);
const child = new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "--no-check", script, server.url],
  stdout: "piped",
}).spawn();
const { value: line } = await child.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
const env: Record<string, string> = JSON.parse(line!);
for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);

await using db = await connect();
const lake = await db.lakehouse();
await db
  .sql`CREATE TABLE trips AS SELECT n AS id, 'zone ' || n % 260 AS zone, (n % 10000 / 100.0)::numeric(10, 2) AS fare,
  n / 7.0::float8 AS distance, TIMESTAMPTZ '2026-01-01 00:00Z' + n * INTERVAL '1 second' AS at, n % 3 = 0 AS paid
  FROM generate_series(1, ${ROWS}::int) AS n`;
const file = await Deno.makeTempFile({ suffix: ".arrow" });
await db.pull("trips", file);

/** Runs a statement with `fetch`. */
async function submit(
  statement: string,
  more: Record<string, unknown>,
): Promise<{ links: Link[]; id: string; chunks: number }> {
  const answer = await fetch(`${env["DATABRICKS_HOST"]}/api/2.0/sql/statements`, {
    method: "POST",
    headers,
    body: JSON.stringify({ warehouse_id: env["DATABRICKS_WAREHOUSE_ID"], statement, wait_timeout: "50s", ...more }),
  });
  const { statement_id: id, manifest, result } = await answer.json();
  return { id, chunks: manifest.total_chunk_count, links: result.external_links ?? [] };
}

interface Link {
  chunk_index: number;
  external_link: string;
  http_headers: Record<string, string>;
}

const headers = { authorization: `Bearer ${env["DATABRICKS_TOKEN"]}` };

/** The bytes of a result, one chunk after the other, while the next one is being fetched. */
async function fetchAlone(): Promise<void> {
  const external = { disposition: "EXTERNAL_LINKS", format: "ARROW_STREAM" };
  const { id, chunks, links } = await submit("SELECT * FROM trips", external);
  const bytesOf = async (index: number) => {
    const path = `${env["DATABRICKS_HOST"]}/api/2.0/sql/statements/${id}/result/chunks/${index}`;
    const link = links[index] ?? (await (await fetch(path, { headers })).json()).external_links[0] as Link;
    return await (await fetch(link.external_link, { headers: link.http_headers })).arrayBuffer();
  };
  const ahead = Array.from({ length: Math.min(4, chunks) }, (_, index) => bytesOf(index));
  for (let next = ahead.length; ahead.length > 0; next++) {
    await ahead.shift();
    if (next < chunks) ahead.push(bytesOf(next));
  }
}

async function compare(
  what: string,
  ours: () => PromiseLike<unknown>,
  minimum: () => PromiseLike<unknown>,
  limit: string,
) {
  await ours();
  await minimum();
  const rounds: [number, number][] = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push([await timed(ours), await timed(minimum)]);
  const ms = (which: 0 | 1) => median(rounds.map((round) => round[which])).toFixed(1);
  const ratio = median(rounds.map(([own, other]) => own / other)).toFixed(2);
  return { what, "ms": ms(0), "ms of the minimum": ms(1), ratio, limit };
}

const into = async (source: Parameters<typeof db.load>[1]) => {
  await db.load("copied", source, { create: true, mode: "replace", progress: false });
  await db.sql`DROP TABLE copied`;
};

/** The load of a result, without the time of its statement, compared with the load of a file. */
async function withoutStatement() {
  const external = { disposition: "EXTERNAL_LINKS", format: "ARROW_STREAM" };
  const rounds: [number, number][] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const statement = await timed(() => submit("SELECT * FROM trips", external));
    const loaded = await timed(() => into(lake.sql`SELECT * FROM trips`));
    rounds.push([loaded - statement, await timed(() => into(file))]);
  }
  const ms = (which: 0 | 1) => median(rounds.map((round) => round[which])).toFixed(1);
  const ratio = median(rounds.map(([own, other]) => own / other)).toFixed(2);
  const what = "load(lake.sql) without its statement, and load of a file";
  return { what, "ms": ms(0), "ms of the minimum": ms(1), ratio, limit: "1.1" };
}

/** The memory of a process that reads ten times as many rows. */
async function memory(action: "load" | "loop") {
  const { megabytes, seconds } = await peakMemory({
    connect: {
      host: "127.0.0.1",
      port: server.port,
      user: "postgres",
      password: "bench",
      database: "postgres",
      sslMode: "disable",
    },
    workspace: { host: env["DATABRICKS_HOST"]!, token: env["DATABRICKS_TOKEN"]! },
    action,
    table: "many",
    file: { query: "SELECT trips.* FROM trips, generate_series(1, 10)" },
  });
  const what = `${action} of ${10 * ROWS} rows of lake.sql: megabytes`;
  return {
    what,
    "ms": (seconds * 1000).toFixed(0),
    "ms of the minimum": "",
    ratio: megabytes.toFixed(0),
    limit: "250",
  };
}

const lines = [
  await compare("columns(), and fetch of the links", () => lake.sql`SELECT * FROM trips`.columns(), fetchAlone, "1.3"),
  await compare(
    "load(lake.sql), and fetch of the links, then load of a file",
    () => into(lake.sql`SELECT * FROM trips`),
    async () => {
      await fetchAlone();
      await into(file);
    },
    "1.1",
  ),
  await withoutStatement(),
  await compare(
    "value(), and fetch of the API",
    () => lake.sql`SELECT 1`.value(),
    () => submit("SELECT 1", { disposition: "INLINE" }),
    "",
  ),
  await memory("load"),
  await memory("loop"),
];
child.kill();
for (const path of [script, file]) await Deno.remove(path);
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);
