import { appendFileSync } from "node:fs";
import { connect, type Lakebase, LakebaseError } from "../../mod.ts";
import { type Random, randomFrom } from "../../tests/support/random.ts";

/** The client's report at its end. It notes its writes in a file, where they take no memory. */
export interface Journal {
  succeeded: number;
  failed: number;
  /** The wrong answers. */
  wrong: string[];
  /** The errors that are not among {@linkcode EXPECTED}. */
  unexpected: string[];
  /** The memory after two minutes. */
  early: Memory;
  /** The memory at the end. */
  late: Memory;
}

/** Memory in megabytes. */
export interface Memory {
  /** Memory of the JavaScript heap. */
  heap: number;
  /** Resident memory of the process. */
  resident: number;
}

/** The largest number of connections. */
export const MAX_CONNECTIONS = 8;
/** The line that the client prints after it has closed its connections. It ends after its standard input has ended. */
export const CLOSED = "closed\n";

const WORKERS = 12;
/** The codes of the errors that the faults may cause. */
const EXPECTED = new Set([
  ...["CONNECTION_LOST", "UNREACHABLE", "CONNECT_TIMEOUT", "TOO_MANY_CONNECTIONS", "TLS", "LOGIN_REFUSED"],
  ...["WORKSPACE_AUTH", "WORKSPACE_UNAVAILABLE"],
]);

type Operation = (db: Lakebase, random: Random, journal: Journal, id: string) => Promise<void>;

const OPERATIONS: readonly Operation[] = [read, read, insert, insert, transact, iterate, pull];

async function read({ sql }: Lakebase, random: Random, journal: Journal): Promise<void> {
  const n = random.below(1e6);
  const value = await sql`SELECT ${n}::int * 2 AS n, pg_sleep(${random.below(50) / 1000})`.value();
  if (value !== n * 2) journal.wrong.push(`${n} * 2 = ${value}`);
}

async function insert({ sql }: Lakebase, _random: Random, _journal: Journal, id: string): Promise<void> {
  await write([id], async () => void await sql`INSERT INTO soak VALUES (${id})`);
}

async function transact(db: Lakebase, _random: Random, _journal: Journal, id: string): Promise<void> {
  const ids = [`${id}/a`, `${id}/b`];
  await write(ids, () =>
    db.transaction(async (tx) => {
      for (const each of ids) await tx.sql`INSERT INTO soak VALUES (${each})`;
    }));
}

async function write(ids: string[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
    record("done", ids);
  } catch (error) {
    if ((error as LakebaseError).code === "CONNECTION_LOST") record("unknown", ids);
    throw error;
  }
}

/** Appends a line for each write, with its outcome, to the journal's file. */
function record(outcome: "done" | "unknown", ids: string[]): void {
  appendFileSync(Deno.args[2]!, ids.map((id) => `${outcome} ${id}\n`).join(""));
}

async function iterate({ sql }: Lakebase, _random: Random, journal: Journal): Promise<void> {
  let sum = 0;
  for await (const { n } of sql<{ n: number }>`SELECT n FROM generate_series(1, 5000) AS n`) sum += n;
  if (sum !== 12_502_500) journal.wrong.push(`sum ${sum}`);
}

async function pull({ sql }: Lakebase, _random: Random, journal: Journal): Promise<void> {
  let bytes = 0;
  const target = new WritableStream<Uint8Array>({ write: (chunk) => void (bytes += chunk.length) });
  const { rows } = await sql`SELECT n FROM generate_series(1, 20000) AS n`.pull(target, {
    format: "csv",
    header: false,
  });
  if (rows !== 20_000 || bytes !== 108_894) journal.wrong.push(`pulled ${rows} rows, ${bytes} bytes`);
}

async function work(db: Lakebase, worker: number, random: Random, end: number, journal: Journal): Promise<void> {
  for (let n = 0; Date.now() < end; n++) {
    try {
      await random.one(OPERATIONS)(db, random, journal, `${worker}:${n}`);
      journal.succeeded++;
    } catch (error) {
      journal.failed++;
      const expected = error instanceof LakebaseError && EXPECTED.has(error.code);
      if (!expected) journal.unexpected.push(Deno.inspect(error).slice(0, 500));
    }
    await new Promise((resolve) => setTimeout(resolve, 50 + random.below(400)));
  }
}

function memory(): Memory {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, rss } = Deno.memoryUsage();
  return { heap: Math.round(heapUsed / 1e5) / 10, resident: Math.round(rss / 1e5) / 10 };
}

if (import.meta.main) {
  const [minutes, seed] = [Number(Deno.args[0]), Number(Deno.args[1])];
  const journal: Journal = { succeeded: 0, failed: 0, wrong: [], unexpected: [], early: memory(), late: memory() };
  const started = Date.now();
  const end = started + minutes * 60_000;
  const db = await connect({
    max: MAX_CONNECTIONS,
    tokenTtl: 300,
    connectTimeout: 20,
    idleTimeout: 5,
    maxLifetime: 60,
  });
  await db.sql`CREATE TABLE soak (id text)`;
  setTimeout(() => journal.early = memory(), Math.min(120_000, minutes * 20_000));
  await Promise.all(
    Array.from({ length: WORKERS }, (_, worker) => work(db, worker, randomFrom(seed + worker), end, journal)),
  );
  await db.close();
  journal.late = memory();
  appendFileSync(Deno.args[2]!, JSON.stringify(journal));
  await Deno.stdout.write(new TextEncoder().encode(CLOSED));
  await new Response(Deno.stdin.readable).text(); // meanwhile, the server's open connections are counted
  // This does not call Deno.exit(), because a leftover should keep this process from ending.
}
