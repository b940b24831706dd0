import assert from "node:assert/strict";
import { PostgresWorker } from "../../src/local/postgres_worker.ts";
import { concatBytes } from "../../src/core/bytes.ts";
import { cstring, frame, Framer, messageType, query } from "../../src/local/messages.ts";
import { stillHeld } from "../support/garbage.ts";

const [PARSE, BIND, EXECUTE, SYNC, FLUSH] = [
  frame("P", cstring(""), cstring("SELECT 1 / 0"), new Uint8Array(2)),
  frame("B", cstring(""), cstring(""), new Uint8Array(6)),
  frame("E", cstring(""), new Uint8Array(4)),
  frame("S"),
  frame("H"),
];

const discard = () => Promise.resolve();

/** The worker of the tests that do not break it, because each start takes a second of processor time. */
const worker = new PostgresWorker();
Deno.test.beforeAll(() => worker.start(undefined));
Deno.test.afterAll(() => worker.stop(false));

Deno.test("PostgresWorker.run() rejects when the database crashes, and from then on", async () => {
  const crashing = new PostgresWorker();
  await crashing.start(undefined);
  const { status } = await crashing.run({ input: concatBytes([query("BEGIN")]), output: discard });
  assert.equal(status, "T");
  // An unknown message ends Postgres.
  await assert.rejects(crashing.run({ input: concatBytes([frame("!")]), output: discard }));
  await assert.rejects(crashing.run({ input: concatBytes([query("SELECT 1")]), output: discard }));
  await assert.rejects(crashing.unlessCrashed(new Promise(() => {})));
  await crashing.stop(false);
});

Deno.test("PostgresWorker.start() rejects if the path can't be a folder, and stop() still ends the worker", async () => {
  const failing = new PostgresWorker();
  const file = await Deno.makeTempFile();
  await assert.rejects(failing.start(`${file}/inside a file`));
  await failing.stop(true);
  await Deno.remove(file);
});

Deno.test("PostgresWorker.run() gives one ReadyForQuery for a Sync, and none for an error before it", async () => {
  const answers = async (...requests: Uint8Array[]): Promise<string> => {
    let types = "";
    const framer = new Framer();
    await worker.run({ input: concatBytes(requests), output: (bytes) => Promise.resolve(framer.push(bytes)) });
    for (let next = framer.next(); next; next = framer.next()) types += messageType(next);
    return types;
  };
  assert.equal(await answers(PARSE, BIND, EXECUTE, SYNC), "1EZ");
  assert.equal(await answers(PARSE, BIND, EXECUTE, FLUSH), "1E");
  assert.equal(await answers(query("SELECT 1")), "");
  assert.equal(await answers(SYNC), "Z");
  assert.equal(await answers(PARSE, BIND, EXECUTE), "1E");
  assert.equal(await answers(BIND, SYNC, query("SELECT 1 / 0")), "ZEZ");
});

Deno.test("PostgresWorker keeps no answer in memory", async () => {
  const outcomes: WeakRef<object>[] = [];
  const ask = async () => {
    outcomes.push(new WeakRef(await worker.run({ input: concatBytes([query("SELECT 1")]), output: discard })));
  };
  for (let at = 0; at < 20; at++) await ask();
  const held = await stillHeld(outcomes);
  assert.ok(held < 5, `${held} of ${outcomes.length} outcomes`);
});
