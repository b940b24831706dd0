/**
 * Runs a client for an hour under every fault of a Lakebase, chosen at random from a seed. Checks that memory stays
 * bounded, no answer is wrong, no write happens twice, and nothing leaks. The client is a separate process; the server
 * is a real PostgreSQL behind the local Lakebase. Run with `deno task soak [minutes] [seed]`.
 */

import { startLocal } from "../src/local/mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { connect } from "../mod.ts";
import { FAULTS } from "./support/soak_faults.ts";
import { randomFrom } from "../tests/support/random.ts";
import { CLOSED, type Journal, MAX_CONNECTIONS } from "./support/soak_client.ts";

const minutes = Number(Deno.args[0] ?? 60);
const seed = Number(Deno.args[1] ?? Date.now() % 1e9);
const random = randomFrom(seed);
const counts = new Map<string, number>();

await using server = await startPostgres({ password: "owner-secret" });
await using local = await startLocal({ database: server.url });
const journalFile = await Deno.makeTempFile({ prefix: "lakebase-soak-" });
const client = new Deno.Command(Deno.execPath(), {
  args: [
    "run",
    "-A",
    "--v8-flags=--expose-gc",
    new URL("./support/soak_client.ts", import.meta.url).href,
    `${minutes}`,
    `${seed}`,
    journalFile,
  ],
  env: local.env,
  stdin: "piped",
  stdout: "piped",
}).spawn();

print(`seed ${seed}, ${minutes} minutes`);
let mostOpen = 0;
const sampling = setInterval(() => mostOpen = Math.max(mostOpen, local.connections), 50);
const end = Date.now() + minutes * 60_000;
while (Date.now() < end) {
  await sleep(500 + random.below(7500));
  const [name, cause] = random.one(FAULTS);
  counts.set(name, (counts.get(name) ?? 0) + 1);
  const duration = random.below(4000);
  await cause(local, random, server);
  await sleep(duration);
  local.faults.reset();
}
const output = client.stdout.pipeThrough(new TextDecoderStream()).getReader();
const closed = (await output.read()).value === CLOSED;
await sleep(500);
const leftOpen = local.connections;
clearInterval(sampling);
await client.stdin.close();
const late = setTimeout(() => client.kill("SIGKILL"), 20_000);
const { code } = await client.status; // it has closed its connections, so it must end
clearTimeout(late);
const lines = (await Deno.readTextFile(journalFile)).split("\n");
const journal: Journal = JSON.parse(lines.pop()!);
const writes = { done: [] as string[], unknown: [] as string[] };
for (const line of lines) {
  const [outcome, id] = line.split(" ") as ["done" | "unknown", string];
  writes[outcome].push(id);
}
await Deno.remove(journalFile);
await report();

async function report(): Promise<void> {
  await using db = await connect({
    host: "127.0.0.1",
    port: server.port,
    user: "postgres",
    database: "postgres",
    password: "owner-secret",
    sslMode: "disable",
  });
  const rows = await db.sql<{ id: string; times: number }>`SELECT id, count(*) AS times FROM soak GROUP BY id`;
  const times = new Map(rows.map(({ id, times }) => [id, times]));
  const twice = rows.filter(({ times }) => times > 1).length;
  const missing = writes.done.filter((id) => !times.has(id)).length;
  const known = new Set([...writes.done, ...writes.unknown]);
  const falselyFailed = rows.filter(({ id }) => !known.has(id)).length;
  const torn = [...times.keys()].filter((id) => /\/[ab]$/.test(id) && !times.has(otherHalf(id))).length;
  // deno-lint-ignore no-console -- its report
  console.table({
    "faults": [...counts.values()].reduce((a, b) => a + b, 0),
    "operations that succeeded": journal.succeeded,
    "operations that failed, and said so": journal.failed,
    "wrong answers": journal.wrong.length,
    "unexpected kinds of errors": journal.unexpected.length,
    "writes that succeeded": writes.done.length,
    "writes of unknown outcome": writes.unknown.length,
    "writes that happened twice": twice,
    "writes that succeeded but were lost": missing,
    "writes that were reported as failed but exist": falselyFailed,
    "half-done transactions": torn,
    "heap after 2 minutes, MB": journal.early.heap,
    "heap at the end, MB": journal.late.heap,
    "whole process after 2 minutes, MB": journal.early.resident,
    "whole process at the end, MB": journal.late.resident,
    [`most connections at once, ${MAX_CONNECTIONS} and those that check them`]: mostOpen,
    "connections left open after the client has closed its own": closed ? leftOpen : "the client did not report it",
    "exit code of the client, which ended by itself": code,
  });
  print(JSON.stringify(Object.fromEntries([...counts].sort())));
  for (const line of [...journal.wrong, ...journal.unexpected].slice(0, 20)) print(line);
  const violations = journal.wrong.length + journal.unexpected.length + twice + missing + falselyFailed + torn +
    leftOpen + code;
  const grown = journal.late.heap > journal.early.heap * 1.5 + 10 ||
    journal.late.resident > journal.early.resident * 1.5 + 50;
  if (violations > 0 || grown || !closed || mostOpen > MAX_CONNECTIONS * 2) Deno.exit(1);
}

function otherHalf(id: string): string {
  return id.replace(/[ab]$/, (half) => half === "a" ? "b" : "a");
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function print(text: string): void {
  // deno-lint-ignore no-console -- its report
  console.log(text);
}
