// deno-lint-ignore-file no-console -- printing is its purpose
/**
 * A client that prints everything that it gets: the results and errors of connecting, running and failing, inspected to
 * any depth, drawn, and as JSON. Its arguments are the options of `connect()` as JSON, one for each connection, each
 * with the environment of that connection.
 */

import { check, connect, type ConnectOptions, type Lakebase, sql } from "../../mod.ts";

const DISPLAY = Symbol.for("Jupyter.display");

const environment = Deno.env.toObject();

for (const argument of Deno.args) {
  const { env, ...options } = JSON.parse(argument) as ConnectOptions & { env?: Record<string, string> };
  for (const [name, value] of Object.entries({ ...environment, ...env })) Deno.env.set(name, value);
  await print("check", check(options));
  const db = await print("connect", connect(options)) as Lakebase | undefined;
  if (db === undefined) continue;
  await print("pool", Promise.resolve(db.pool));
  await print("client", db.pool.connect().then((client) => (client.release(), client)));
  await print("query", db.sql`SELECT ${"value"} AS v, current_user`);
  await print("error", db.sql`SELECT * FROM nowhere WHERE a = ${"value"}`);
  await print("pool error", db.pool.query("SELECT nothing"));
  await print("transaction", db.transaction(async (tx) => await tx.sql`SELECT 1 / 0`));
  await print("tables", db.tables());
  await print("pull", db.pull(db.sql`SELECT 1 AS n`, "/nowhere/at/all.csv"));
  await print("load", db.load("spoken", [{ n: 1 }, { n: 2 }], { create: true }));
  await print("load error", db.load("spoken", [{ n: "no number" }]));
  await print("explain", db.sql`SELECT * FROM spoken`.explain());
  await print("columns", db.sql`SELECT * FROM spoken`.columns());
  await print("drop", db.sql`DROP TABLE spoken`);
  await print("long", db.sql`SELECT pg_sleep(0.5)`);
  await print("cancel", db.sql`SELECT pg_sleep(5)`.with({ timeout: 0.1 }));
  await print("sql", sql`SELECT 1`);
  await print("db.check", db.check());
  await db.close();
  await print("closed", db.sql`SELECT 1`);
}

async function print(what: string, work: PromiseLike<unknown>): Promise<unknown> {
  const outcome = await work.then((value) => value, (error: unknown) => error);
  const deep = { depth: 30, showHidden: true, getters: true, iterableLimit: 10_000, strAbbreviateSize: 1e6 };
  console.log(what, Deno.inspect(outcome, deep));
  console.log(String(outcome), (outcome as Error)?.stack, shallow(outcome));
  const draw = (outcome as Record<symbol, (() => unknown) | undefined>)?.[DISPLAY];
  if (draw !== undefined) console.log(await draw.call(outcome));
  return outcome instanceof Error ? undefined : outcome;
}

/** JSON without circular references. */
function shallow(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return "";
  }
}
