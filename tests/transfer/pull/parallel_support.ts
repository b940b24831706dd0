import { connect, type Lakebase } from "../../../mod.ts";
import { SESSION } from "../../../src/api/lakebase.ts";
import { onConnection } from "../../../src/sql/run.ts";
import type { Session } from "../../../src/sql/session.ts";
import { copyOut } from "../../../src/transfer/copy/copy_out.ts";
import type { Chunk } from "../../../src/transfer/copy/messages.ts";
import {
  type Copies,
  copyOutParallel,
  type ParallelOptions,
  type ParallelPlan,
} from "../../../src/transfer/pull/parallel.ts";
import { eventually } from "../../support/eventually.ts";
import { postgresMissing } from "../../support/postgres.ts";
import { type QueryTest, queryTest, sharedPostgres } from "../../support/queries.ts";
import { requires } from "../../support/requirements.ts";

export type Format = "text" | "csv" | "binary";

function copyOf(format: Format): ParallelPlan["copy"] {
  const header = (first: boolean) => format === "csv" && first ? ", HEADER" : "";
  return (query, first) => `COPY (${query}) TO STDOUT (FORMAT ${format}${header(first)})`;
}

interface CopyOptions extends Pick<ParallelOptions, "signal"> {
  format?: Format;
  columns?: string;
  streamPerConnection?: boolean;
}

export function optionsOf(table: string, parallel: number, options: CopyOptions = {}): ParallelOptions {
  const { format = "text", columns = "*", streamPerConnection = false, signal } = options;
  const plan = () => ({ columns, copy: copyOf(format), binary: format === "binary" });
  return { name: table, table, parallel, streamPerConnection, plan, signal };
}

/** A table in one stream, whose end frees the connections. */
export async function* oneStream(session: Session, options: ParallelOptions): AsyncGenerator<Chunk, void, void> {
  await using copies = await copyOutParallel(session, options);
  yield* copies.streams[0]!;
}

/** A table in one stream for each connection. */
export async function streams(
  session: Session,
  table: string,
  parallel: number,
  options: CopyOptions = {},
): Promise<Copies> {
  return await copyOutParallel(session, optionsOf(table, parallel, { ...options, streamPerConnection: true }));
}

interface Read {
  bytes: Uint8Array;
  messages: number;
}

export async function read(chunks: AsyncIterable<Chunk>): Promise<Read> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let messages = 0;
  for await (const { bytes, rows } of chunks) {
    parts.push(bytes);
    messages += rows;
  }
  return { bytes: new Uint8Array(await new Blob(parts).arrayBuffer()), messages };
}

/** The rows of one COPY on one connection. */
export async function plainly(db: Lakebase, table: string, format: Format): Promise<Read> {
  const session = db[SESSION];
  const text = copyOf(format)(`SELECT * FROM ${table}`, true);
  return await onConnection(session, { text, values: [] }, undefined, async (lease) => {
    return await read(copyOut(session, lease, text, undefined));
  });
}

export async function inParallel(db: Lakebase, ...options: Parameters<typeof optionsOf>): Promise<Read> {
  return await read(oneStream(db[SESSION], optionsOf(...options)));
}

/** Every connection has been given back, and none is in a transaction. */
export async function assertIdle(db: Lakebase): Promise<void> {
  const { pool } = db;
  // Some connections that nobody needs may still be connecting.
  await eventually("no connection is in use", () => pool.idleCount === pool.totalCount && pool.waitingCount === 0);
  // A server takes a moment to notice that a connection was closed.
  const open = () => db.query("SELECT FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'");
  await eventually("no transaction is open", async () => (await open()).length === 0);
}

export function postgresTest(name: string, run: (test: QueryTest) => Promise<void>): void {
  queryTest(name, run, { notOnPglite: "it has one backend" });
}

export const FORMATS: Format[] = ["text", "csv", "binary"];

/** A test as the server's superuser, without the gateway. */
export function serverTest(
  name: string,
  run: (owner: Lakebase, logIn: (user: string) => Promise<Lakebase>) => Promise<void>,
) {
  Deno.test({
    ...requires(name, postgresMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const { port } = await sharedPostgres();
      const server = { host: "127.0.0.1", port, database: "postgres", sslMode: "disable" } as const;
      const logIn = (user: string) => connect({ ...server, user, password: "native-secret" });
      await using owner = await logIn("postgres");
      await run(owner, logIn);
    },
  });
}

/** A table of 60,000 rows of about 100 bytes by default. It is dropped after the test. */
export async function bigTable(db: Lakebase, name: string, width = 100): Promise<AsyncDisposable & { table: string }> {
  await db.query(`CREATE TABLE ${name} AS SELECT n, repeat('x', ${width}) AS text FROM generate_series(1, 60000) AS n`);
  return { table: `public.${name}`, [Symbol.asyncDispose]: async () => void await db.query(`DROP TABLE ${name}`) };
}

export async function numbers(chunks: AsyncIterable<Chunk>): Promise<number[]> {
  const text = new TextDecoder().decode((await read(chunks)).bytes);
  return text.split("\n").slice(0, -1).map((line) => Number(line.split("\t", 1)[0]));
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
