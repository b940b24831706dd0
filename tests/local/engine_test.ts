import assert from "node:assert/strict";
import { Engine } from "../../src/local/engine.ts";
import { frame, query } from "../../src/local/messages.ts";

const discard = () => Promise.resolve();

Deno.test("Engine.run() rejects when the database crashes, then and afterwards", async () => {
  const engine = new Engine();
  await engine.start(undefined);
  const { status } = await engine.run({ input: query("BEGIN") as Uint8Array<ArrayBuffer>, output: discard });
  assert.equal(status, "T");
  // Postgres ends over a message that it doesn't know.
  await assert.rejects(engine.run({ input: frame("!") as Uint8Array<ArrayBuffer>, output: discard }));
  await assert.rejects(engine.run({ input: query("SELECT 1") as Uint8Array<ArrayBuffer>, output: discard }));
  await assert.rejects(engine.crashed);
  await engine.stop(false);
});

Deno.test("Engine.start() rejects where there can be no database, and stop() ends it", async () => {
  const engine = new Engine();
  const file = await Deno.makeTempFile();
  await assert.rejects(engine.start(`${file}/inside a file`));
  await engine.stop(true);
  await Deno.remove(file);
});
