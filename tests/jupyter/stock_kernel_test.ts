import assert from "node:assert/strict";
import { type CellRun, jupyterMissing, runCells, runNotebook } from "../support/jupyter.ts";
import { requires } from "../support/requirements.ts";

// The behavior of Deno's own kernel that this project relies on.

/** Like a query: a thenable that runs when it is awaited, and draws itself. */
const drawable = `class Drawable {
  then(resolve) { return Promise.resolve("awaited").then(resolve); }
  async [Symbol.for("Jupyter.display")]() {
    return { "text/html": "<b>drawn</b>", "text/plain": await this };
  }
}`;

/** Resolves with "stopped" when Stop is pressed, and otherwise never. */
const untilStopped = `await new Promise((resolve) => {
  const alive = setInterval(() => {}, 1000);
  const stopped = () => {
    clearInterval(alive);
    Deno.removeSignalListener("SIGINT", stopped);
    resolve("stopped");
  };
  Deno.addSignalListener("SIGINT", stopped);
  console.log("waiting");
})`;

Deno.test({
  ...requires("a thenable that can draw itself is drawn as a cell's last expression", jupyterMissing),
  fn: async () => {
    const { cells } = await runCells([drawable, "new Drawable()", "await new Drawable()"]);
    assert.deepEqual(result(cells[1]), { "text/html": "<b>drawn</b>", "text/plain": "awaited" });
    assert.match(String(result(cells[2])?.["text/plain"]), /awaited/);
  },
});

Deno.test({
  ...requires("Stop ends a kernel without a SIGINT listener", jupyterMissing),
  fn: async () => {
    const code = "console.log('go'); await new Promise((resolve) => setTimeout(resolve, 60_000))";
    const waiting = { code, interruptAt: '"go' };
    const { alive } = await runCells([waiting]);
    assert.equal(alive, false);
  },
});

Deno.test({
  ...requires("a SIGINT listener is called by Stop while a cell awaits, and the kernel stays alive", jupyterMissing),
  fn: async () => {
    const cells = ["let kept = 41", { code: untilStopped, interruptAt: "waiting" }, "kept + 1"];
    const run = await runCells(cells, { env: { NO_COLOR: "1" } });
    assert.equal(run.alive, true);
    assert.match(String(result(run.cells[1])?.["text/plain"]), /stopped/);
    assert.deepEqual(result(run.cells[2]), { "text/plain": "42" });
  },
});

Deno.test({
  ...requires("nbclient does not lose a result that blocks its thread after it was sent", jupyterMissing),
  fn: async () => {
    const held = `class Held {
      [Symbol.for("Jupyter.display")]() {
        let sent = false;
        const hold = () => sent ? Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60) : queueMicrotask(hold);
        queueMicrotask(hold);
        return { get "text/plain"() { sent = true; return "x".repeat(200_000); } };
      }
    }`;
    const { cells } = await runNotebook([held, ...Array<string>(50).fill("new Held()")]);
    const lost = cells.slice(1).filter((cell) => cell.outputs?.[0]?.output_type !== "execute_result");
    assert.equal(lost.length, 0);
  },
});

/** What the cell's last expression showed. */
function result(cell: CellRun | undefined): Record<string, unknown> | undefined {
  const message = cell?.messages.find((message) => message.type === "execute_result");
  return message?.content["data"] as Record<string, unknown> | undefined;
}
