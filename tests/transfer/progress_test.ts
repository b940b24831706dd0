import assert from "node:assert/strict";
import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import { fractionDone, outcomeText, type Progress, progressText } from "../../src/draw/progress.ts";
import { type MeterOptions, type ProgressView, startMeter, terminalView } from "../../src/transfer/progress.ts";
import { jupyterMissing, runCells, runNotebook } from "../support/jupyter.ts";
import { textOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const MB = 1024 * 1024;

function progress(more: Partial<Progress> = {}): Progress {
  return { rows: 0, bytes: 0, elapsed: 2000, rowsPerSecond: 0, bytesPerSecond: 0, done: false, ...more };
}

const moved = { rows: 500, bytes: 20 * MB, rowsPerSecond: 250, bytesPerSecond: 10 * MB };

Deno.test("progressText() shows only what is known", () => {
  const cases: [Partial<Progress>, string][] = [
    [{}, "Pulling trips: 0 rows, 0 bytes, 2 s"],
    [moved, "Pulling trips: 500 rows, 20 MB, 2 s, 250 rows/s, 10 MB/s"],
    [
      { ...moved, totalRows: 1000 },
      "Pulling trips: 50 %, 500 of about 1,000 rows, 20 MB, 2 s, 250 rows/s, 10 MB/s, about 2 s left",
    ],
    [{ ...moved, totalRows: 499 }, "Pulling trips: 500 rows, 20 MB, 2 s, 250 rows/s, 10 MB/s"],
    [{ ...moved, totalRows: 500 }, "Pulling trips: 100 %, 500 of about 500 rows, 20 MB, 2 s, 250 rows/s, 10 MB/s"],
    [{ totalRows: 1000 }, "Pulling trips: 0 %, 0 of about 1,000 rows, 0 bytes, 2 s"],
    [{ totalRows: 0 }, "Pulling trips: 0 of about 0 rows, 0 bytes, 2 s"],
    [
      { ...moved, totalBytes: 30 * MB },
      "Pulling trips: 66 %, 500 rows, 20 MB of 30 MB, 2 s, 250 rows/s, 10 MB/s, about 1 s left",
    ],
    [{ ...moved, elapsed: 7_384_000 }, "Pulling trips: 500 rows, 20 MB, 2 h 3 min, 250 rows/s, 10 MB/s"],
  ];
  for (const [more, expected] of cases) {
    assert.equal(progressText({ action: "Pulling", name: "trips" }, progress(more)), expected);
  }
});

Deno.test("fractionDone() is between 0 and 1, however wrong the estimate is", () => {
  const cases: [Partial<Progress>, number | undefined][] = [
    [{}, undefined],
    [{ rows: 1, totalRows: 4 }, 0.25],
    [{ rows: 5, totalRows: 4 }, undefined],
    [{ rows: 0, totalRows: 0 }, undefined],
    [{ bytes: 1, totalBytes: 0 }, undefined],
    [{ bytes: 9, totalBytes: 4 }, 1],
    [{ bytes: 1, totalBytes: 2, rows: 1, totalRows: 100 }, 0.5],
    [{ done: true }, 1],
  ];
  for (const [more, expected] of cases) assert.equal(fractionDone(progress(more)), expected, JSON.stringify(more));
});

Deno.test("outcomeText() distinguishes a complete transfer from a stopped one, and escapes names", () => {
  const moving = { action: "Loading", name: "a\n\x1b[31m\u202eb" } as const;
  assert.equal(
    outcomeText(moving, progress({ ...moved, done: true })),
    "Loaded a↵<U+001B>[31m<U+202E>b: 500 rows, 20 MB in 2 s (250 rows/s, 10 MB/s)",
  );
  assert.equal(
    outcomeText(moving, progress({ rows: 1 })),
    "Stopped loading a↵<U+001B>[31m<U+202E>b: 1 row, 0 bytes in 2 s",
  );
});

/** A meter on a clock that the test moves, and what it shows. */
function meterOnClock(options: Partial<MeterOptions> = {}) {
  const clock: Clock = install({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const shown: string[] = [];
  const view: ProgressView = {
    draw: ({ rows, totalRows }) => void shown.push(`${rows}${totalRows === undefined ? "" : ` of ${totalRows}`}`),
    end: ({ rows, done }) => void shown.push(`${done ? "whole" : "stopped"} ${rows}`),
  };
  const meter = startMeter({ action: "Pulling", name: "trips", view, ...options });
  return { clock, shown, meter, [Symbol.dispose]: () => clock.uninstall() };
}

Deno.test("a meter shows nothing of a transfer that ends within a second", async () => {
  using test = meterOnClock();
  test.meter.add(10, 100);
  await test.clock.tickAsync(999);
  await test.meter.complete();
  await test.meter[Symbol.asyncDispose]();
  await test.clock.tickAsync(5000);
  assert.deepEqual(test.shown, []);
});

Deno.test("a meter shows a longer transfer at most four times a second, and its end once", async () => {
  for (const whole of [true, false]) {
    using test = meterOnClock();
    for (let ms = 0; ms < 2000; ms++) {
      test.meter.add(1, 10);
      await test.clock.tickAsync(1);
    }
    assert.ok(test.shown.length >= 4 && test.shown.length <= 5, String(test.shown.length));
    if (whole) await test.meter.complete();
    await test.meter[Symbol.asyncDispose]();
    await test.meter[Symbol.asyncDispose]();
    await test.clock.tickAsync(5000);
    assert.equal(test.shown.at(-1), `${whole ? "whole" : "stopped"} 2000`);
    assert.equal(test.shown.filter((line) => /whole|stopped/.test(line)).length, 1);
  }
});

Deno.test("a meter shows that a transfer waits, and continues if a view fails or is slow", async () => {
  using test = meterOnClock();
  await test.clock.tickAsync(3000);
  assert.ok(test.shown.length > 5 && test.shown.every((line) => line === "0"), String(test.shown));
  await test.meter[Symbol.asyncDispose]();

  let draws = 0;
  const slow = startMeter({
    action: "Pulling",
    name: "trips",
    view: { draw: () => (draws++, new Promise((resolve) => setTimeout(resolve, 1000))), end: () => Promise.reject(1) },
  });
  await test.clock.tickAsync(4000);
  assert.ok(draws === 3 || draws === 4, String(draws));
  const ended = slow[Symbol.asyncDispose]();
  await test.clock.tickAsync(1000);
  await ended;

  const broken = startMeter({ action: "Pulling", name: "trips", view: { draw: () => assert.fail(), end() {} } });
  await test.clock.tickAsync(1500);
  await broken[Symbol.asyncDispose]();
});

Deno.test("onProgress is called at most four times a second, and at the end", async () => {
  const reports: Progress[] = [];
  using test = meterOnClock({ show: false, totalBytes: 4000, onProgress: (progress) => reports.push(progress) });
  for (let ms = 0; ms < 2000; ms++) {
    await test.clock.tickAsync(1);
    test.meter.add(1, 2);
  }
  await test.meter.complete();
  await test.meter[Symbol.asyncDispose]();
  assert.equal(reports.length, 9);
  assert.deepEqual(reports[0], {
    rows: 250,
    bytes: 500,
    elapsed: 250,
    rowsPerSecond: 1000,
    bytesPerSecond: 2000,
    totalBytes: 4000,
    done: false,
  });
  assert.deepEqual([reports.at(-1)!.rows, reports.at(-1)!.done, reports.at(-2)!.done], [2000, true, false]);
  assert.deepEqual(test.shown, []);
});

Deno.test("an error of onProgress is thrown where rows are counted", async () => {
  const error = new Error("mine");
  using test = meterOnClock({
    onProgress: () => {
      throw error;
    },
  });
  test.meter.add(1, 1);
  await test.clock.tickAsync(300);
  assert.throws(() => test.meter.add(1, 1), error);
  await assert.rejects(test.meter.complete(), error);
  await test.meter[Symbol.asyncDispose]();
});

Deno.test("a rejection of onProgress is thrown by the next count, or at the end", async () => {
  const error = new Error("mine");
  for (const next of ["count", "end", "none"]) {
    using test = meterOnClock({ onProgress: () => Promise.reject(error) });
    await test.clock.tickAsync(300);
    test.meter.add(1, 1);
    await test.clock.tickAsync(1);
    if (next === "count") assert.throws(() => test.meter.add(1, 1), error);
    if (next === "end") await assert.rejects(test.meter.complete(), error);
    await test.meter[Symbol.asyncDispose](); // with neither, the rejection is still handled
  }
});

Deno.test("complete() waits for onProgress, which is not called again before its promise has settled", async () => {
  const calls: string[] = [];
  using test = meterOnClock({
    onProgress: async ({ rows, done }) => {
      calls.push(`${rows}`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      calls.push(`${rows} settled`);
      if (done) throw new Error("at the end");
    },
  });
  for (let ms = 0; ms < 900; ms++) {
    await test.clock.tickAsync(1);
    test.meter.add(1, 1);
  }
  const ended = test.meter.complete().catch((error) => calls.push(error.message));
  await test.clock.tickAsync(3000);
  await ended;
  assert.deepEqual(calls, ["250", "250 settled", "900", "900 settled", "at the end"]);
  await test.meter[Symbol.asyncDispose]();
});

Deno.test("the total is requested once, after the first second, and may fail or arrive late", async () => {
  let asked = 0;
  using test = meterOnClock({
    totalRows: async () => {
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 600));
      return 77;
    },
  });
  await test.clock.tickAsync(999);
  assert.equal(asked, 0);
  await test.clock.tickAsync(2000);
  assert.equal(asked, 1);
  assert.deepEqual([test.shown[0], test.shown.at(-1)], ["0", "0 of 77"]);
  await test.meter[Symbol.asyncDispose]();

  const estimates: (() => Promise<number | undefined>)[] = [
    () => Promise.reject(new Error("no")),
    () => {
      throw new Error("no");
    },
    () => Promise.resolve(undefined),
  ];
  for (const totalRows of estimates) {
    using quiet = anotherMeter({ totalRows });
    await test.clock.tickAsync(1500);
    assert.deepEqual(quiet.shown.at(-1), "undefined");
    await quiet.meter[Symbol.asyncDispose]();
  }
});

/** A meter on the clock of another one. */
function anotherMeter(options: Partial<MeterOptions>) {
  const shown: string[] = [];
  const view: ProgressView = { draw: ({ totalRows }) => void shown.push(String(totalRows)), end() {} };
  const meter = startMeter({ action: "Pulling", name: "trips", view, ...options });
  return { shown, meter, [Symbol.dispose]() {} };
}

Deno.test("terminalView() uses one line, and erases it", async () => {
  const written: string[] = [];
  const terminal = { write: (text: string) => Promise.resolve(void written.push(text)), columns: () => 30 };
  const view = terminalView({ action: "Pulling", name: "東京 trips" }, terminal);
  await view.draw(progress(moved));
  await view.draw(progress({ ...moved, rows: 501 }));
  await view.end(progress({ ...moved, done: true }));
  assert.deepEqual(written, [
    "\rPulling 東京 trips: 500 rows…\x1b[K",
    "\rPulling 東京 trips: 501 rows…\x1b[K",
    "\r\x1b[K",
  ]);
});

const METER = `import { startMeter } from "${new URL("../../src/transfer/progress.ts", import.meta.url)}";
  const seconds = (n) => new Promise((resolve) => setTimeout(resolve, n * 1000));
  async function move(n, whole = true) {
    await using meter = startMeter({ action: "Pulling", name: "trips", totalRows: 100 });
    for (let i = 0; i < 10; i++) { meter.add(10, 1000); if (n > 0) await seconds(n / 10); }
    if (whole) await meter.complete(); else throw new Error("half-way");
  }`;

Deno.test({
  ...requires("(slow) a cell shows one display that changes, and the outcome last, within the cell", jupyterMissing),
  fn: async () => {
    const { cells } = await runCells([METER, "await move(1.9)", "await move(0)", "await move(1.5, false)"]);
    const outputs = cells.map(({ messages }) => messages.filter(({ type }) => type.includes("display_data")));
    assert.deepEqual(outputs.map((messages) => messages.length > 0), [false, true, false, true]);
    const texts = outputs[1]!.map(({ content }) => (content["data"] as Record<string, string>)["text/plain"]!);
    assert.match(texts[0]!, /^Pulling trips: \d\d %, \d0 of about 100 rows, /);
    assert.match(texts.at(-1)!, /^Pulled trips: 100 rows, 10000 bytes in [\d.]+ s/);
    assert.ok(texts.length >= 2, String(texts.length));
    assert.match(JSON.stringify(outputs[3]!.at(-1)), /Stopped pulling trips: 100 rows/);
    assert.equal(outputs.flat().some(({ late }) => late), false);

    const { cells: saved } = await runNotebook([METER, "await move(1.2)"]);
    assert.equal(saved[1]!.outputs!.length, 1); // a saved notebook keeps the last update
    assert.match(textOf(saved[1]!.outputs![0], "text/plain")!, /^Pulled trips/);
  },
});

Deno.test({
  ...requires(
    "(slow) a terminal gets one line of standard error, which is erased; no terminal gets nothing",
    scriptMissing,
  ),
  fn: async () => {
    const program = `${METER} await move(1.9); console.log("out");`;
    const file = await Deno.makeTempFile({ suffix: ".js" });
    try {
      await Deno.writeTextFile(file, program);
      const run = [Deno.execPath(), "run", "-A", "--no-config", file];
      const seen = await outputOf("script", "-qec", run.map((part) => `'${part}'`).join(" "), "/dev/null");
      assert.match(seen.replaceAll("\x1b[K", "<erase>"), /\rPulling trips: \d\d %, .*<erase>\r.*\r<erase>out\r\n$/s);
      assert.equal(seen.split("\n").length, 2);
      assert.equal(await outputOf("sh", "-c", `"$@" 2>&1`, "sh", ...run), "out\n");
    } finally {
      await Deno.remove(file);
    }
  },
});

/** `script`, of util-linux, runs a program on a terminal. */
function scriptMissing(): string | undefined {
  try {
    const { success } = new Deno.Command("script", { args: ["-qec", "true", "/dev/null"], stdout: "null" })
      .outputSync();
    return success ? undefined : "this machine's script(1) is not util-linux's";
  } catch {
    return "no script(1) found";
  }
}

async function outputOf(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command(program, { args, env: { NO_COLOR: "1" }, stderr: "null" }).output();
  return new TextDecoder().decode(stdout);
}
