import assert from "node:assert/strict";
import { eventually, inTime } from "../support/eventually.ts";
import { contentOf } from "../../src/kernel/message.ts";
import { notebookFolder } from "../support/notebook.ts";
import type { Execution, Frontend } from "./frontend.ts";
import { RawKernel } from "./raw_kernel.ts";

/** Presses Stop once the cell has printed "go". */
async function stopped(frontend: Frontend, code: string): Promise<Execution> {
  const before = frontend.published.length;
  const running = frontend.execute(code);
  const hasPrinted = () =>
    frontend.published.slice(before).some(({ parts }) => new TextDecoder().decode(parts[3]).includes('"go\\n"'));
  await eventually("the cell runs", hasPrinted);
  await frontend.request("control", "interrupt_request");
  return await inTime(`the end of the cell that was stopped: ${code}`, running);
}

function shown({ outputs }: Execution): string {
  return JSON.stringify(outputs.filter(({ type }) => type !== "execute_input").map(({ content }) => content));
}

const SLEEP = "new Promise((done) => setTimeout(done, 60_000))";

Deno.test("Stop ends any wait, and the variables stay", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  await frontend.execute(
    `let kept = 42; const silent = Deno.listen({ port: 0 }); async function inner() { await ${SLEEP} }`,
  );
  const cells = [
    `await ${SLEEP}`,
    "for (;;) await new Promise((done) => setTimeout(done, 5))",
    "await fetch(`http://127.0.0.1:${silent.addr.port}`)",
    `async function main() { await ${SLEEP} }\nawait main()`,
    "await inner()",
    "await Promise.all([1, 2].map(async () => await inner()))",
    "for (;;) { try { await new Promise((done) => setTimeout(done, 5)) } catch {} }",
    "for (;;) { try { await inner() } catch {} }",
    "for await (const conn of silent) conn.close()",
    "for (;;) await null",
    "while (true) {}",
    `const late = async () => { await new Promise((done) => setTimeout(done, 5)); return "late" };
      for (;;) { try { await late() } catch {} }`,
  ];
  for (const code of cells) {
    const { reply, outputs } = await stopped(frontend, `console.log("go"); ${code}`);
    assert.equal(reply["ename"], "Interrupted", code);
    assert.equal(outputs.filter(({ type }) => type === "error").length, 1, code);
    assert.match(shown(await frontend.execute("kept")), /42/);
  }
  // An error that a cell broadcasts does not end the cell.
  const broadcast = 'Deno.jupyter.broadcast("error", { ename: "E", evalue: "", traceback: [] })';
  const after = await stopped(
    frontend,
    `await ${broadcast}; await ${SLEEP.replace("60_000", "300")}; console.log("go"); await ${SLEEP}`,
  );
  assert.equal(after.reply["ename"], "Interrupted");
  assert.match(shown(await frontend.execute("await late()")), /late/); // which belongs to a cell that was stopped
  // Deno's own JavaScript may call code that is busy right after a timer, and Deno does not recover if that code is
  // terminated.
  const waits = 'await new Promise((done) => setTimeout(done, 50)); await Deno.stat(".")';
  const busyLater = `await (async () => { ${waits}; while (true) {} })()`;
  assert.equal((await stopped(frontend, `console.log("go"); ${busyLater}`)).reply["ename"], "Interrupted");
});

Deno.test("(slow) a cell that Stop ends cleans up, and the background work of other cells continues", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  await frontend.execute(`let beats = 0;
    const beat = (async () => { for (;;) { await new Promise((done) => setTimeout(done, 20)); beats++; } })();
    beat.catch((error) => beats = error);`);
  // These have no wait of their own, so the cell above is the one that waits.
  for (const before of ["undefined", "throw new Error()"]) {
    await frontend.execute(before);
    const path = await Deno.makeTempFile();
    const wait = `({ [Symbol.for("Jupyter.display")]: () => new Promise((done) => {
      const timer = setInterval(() => {
        if (Deno.statSync(${JSON.stringify(path)}).size > 0) done((clearInterval(timer), {}));
      }, 50);
    }) })`;
    const shownBefore = frontend.published.length;
    const ending = stopped(frontend, `console.log("go"); ${wait}`);
    // Stop gives up after seconds, and then the drawing may end.
    await eventually(
      "Stop has given up",
      () =>
        frontend.published.slice(shownBefore).some((envelope) =>
          /^Stop: this cell did not end and is still running/.test(String(contentOf(envelope)["text"]))
        ),
    );
    await Deno.writeTextFile(path, "the end");
    await ending;
    await Deno.remove(path);
  }
  // The thread is busy when the waits are due to end, as on a busy machine. The cleanup has its time nevertheless.
  const busy = `setTimeout(() => { const end = Date.now() + 700; while (Date.now() < end); }, 900)`;
  const cleaning = "finally { await new Promise((done) => setTimeout(done, 50)); console.log('clean') }";
  const cleaned = await stopped(frontend, `${busy}; console.log("go"); try { await ${SLEEP} } ${cleaning}`);
  assert.match(shown(cleaned), /clean\\n/);
  const { outputs: more } = await frontend.execute(
    "const then = beats; while (beats === then) await new Promise((done) => setTimeout(done, 20)); beats > then",
  );
  assert.match(JSON.stringify(more), /true/);
});

Deno.test("Stop signals nothing after the end of the cell that it stopped", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  await frontend.execute('let signals = 0; Deno.addSignalListener("SIGINT", () => signals++)');
  // The cell ends because the wait of its cleanup is ended, too.
  const { reply } = await stopped(frontend, `console.log("go"); try { await ${SLEEP} } finally { await ${SLEEP} }`);
  assert.equal(reply["ename"], "Interrupted");
  const next = await frontend.execute(
    "const before = signals; await new Promise((done) => setTimeout(done, 500)); signals === before",
  );
  assert.match(shown(next), /true/);
});

Deno.test("the background work of a stopped cell ends with it, without an error", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const started = `void (async () => { for (;;) await new Promise((done) => setTimeout(done, 20)); })()`;
  const { outputs } = await stopped(frontend, `console.log("go"); ${started}; await ${SLEEP}`);
  assert.deepEqual(outputs.map(({ type }) => type), ["execute_input", "stream", "error"]);
  // If the loop still ran, its timer would end before the first of these, which take as long and start later.
  const { outputs: more } = await frontend.execute(
    "for (let n = 0; n < 2; n++) await new Promise((done) => setTimeout(done, 20))",
  );
  assert.deepEqual(more.map(({ type }) => type), ["execute_input"]);
});

Deno.test("(slow) Stop ends a loop of queries that catches its errors, on the server too", async () => {
  await using folder = await notebookFolder();
  await using kernel = await RawKernel.start({ cwd: folder.path });
  using frontend = await kernel.frontend();
  await frontend.execute('import { connect } from "lakebase"; const db = await connect({ local: true });');
  const loop =
    'console.log("go"); let sent = 0; for (;;) { try { sent++; await db.sql`SELECT pg_sleep(30)` } catch {} }';
  const { reply } = await stopped(frontend, loop);
  assert.equal(reply["ename"], "Interrupted");
  // The only connection is free, because its query was canceled.
  assert.match(shown(await frontend.execute("await db.sql`SELECT 7 AS n`.value() + sent * 0")), /7/);
});

Deno.test("a failed cell with inserted waits shows the line and the text that the person wrote", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const code = `async function inner() {
  await null;
  throw new Error("x");
}
async function outer() {
  await inner();
}
await outer();`;
  const { outputs } = await frontend.execute(code);
  assert.equal(outputs[0]!.content["code"], code);
  const traceback = outputs[1]!.content["traceback"] as string[];
  assert.deepEqual(traceback.slice(1).map((line) => line.trim().replace(/:\d+\)?$/, "")), [
    "at inner (<anonymous>:3",
    "at async outer (<anonymous>:6",
    "at async <anonymous>:8",
  ]);
  const unparsed = await frontend.execute("await 1;\nlet y = = 2");
  assert.equal(unparsed.reply["evalue"], "Expression expected (line 2, column 9)");
});

Deno.test("code that inserted waits would break runs without them, and has its own execution count", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const before = Number((await frontend.execute("1")).reply["execution_count"]);
  const code = "interface Odd { await (): void }\nconst n: number = await Promise.resolve(7); n";
  const { reply, outputs } = await frontend.execute(code);
  assert.equal(reply["execution_count"], before + 1);
  assert.deepEqual(outputs.map(({ type }) => type), ["execute_input", "execute_result"]);
  assert.equal(outputs[0]!.content["code"], code);
  assert.equal((await frontend.execute("2")).reply["execution_count"], before + 2);
  const worker = `const answer = async () => { await null; return "from a worker" };
const url = URL.createObjectURL(new Blob([\`(\${answer})().then(postMessage)\`], { type: "text/javascript" }));
const worker = new Worker(url, { type: "module" });
const { data } = await new Promise((resolve) => worker.onmessage = resolve);
worker.terminate();
data`;
  assert.match(shown(await frontend.execute(worker)), /from a worker/);
  assert.match(shown(await frontend.execute("{ const Symbol = 1; console.log(await Promise.resolve(8)) }")), /8/);
});

Deno.test("an error in the background is shown, and freezes no cell", async () => {
  await using kernel = await RawKernel.start({ env: { NO_COLOR: "1" } });
  using frontend = await kernel.frontend();
  const nextTurn = "await new Promise((done) => setTimeout(done))"; // after all timers and rejections before it
  const thrown = await frontend.execute(`setTimeout(() => { throw new Error("late") }); ${nextTurn}; 3`);
  assert.equal(thrown.reply["status"], "ok");
  assert.match(shown(thrown), /Uncaught \(in the background\) Error: late/);
  assert.ok(!shown(thrown).includes("ext:"));
  assert.match(shown(thrown), /"3"/);
  const rejected = await frontend.execute(`Promise.reject("plain"); ${nextTurn}; 4`);
  assert.match(shown(rejected), /Uncaught \(in the background\) .*plain/);
  const theirs = await frontend.execute(`const seen = [];
    addEventListener("error", (event) => seen.push(event.message));
    addEventListener("unhandledrejection", (event) => { event.preventDefault(); seen.push(event.reason) });
    setTimeout(() => { throw new Error("heard") });
    Promise.reject("handled"); ${nextTurn}; seen.join()`);
  assert.match(shown(theirs), /Uncaught \(in the background\) Error: heard/);
  assert.ok(!shown(theirs).includes("(in the background) handled"));
  assert.match(shown(theirs), /handled,Uncaught Error: heard/);
});
