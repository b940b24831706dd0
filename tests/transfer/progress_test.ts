import assert from "node:assert/strict";
import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import { outcomeText, partDone, type Progress, progressText } from "../../src/draw/progress.ts";
import { type MeterOptions, type ProgressView, startMeter, terminalView } from "../../src/transfer/progress.ts";

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

Deno.test("partDone() is between 0 and 1 whatever was estimated", () => {
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
  for (const [more, expected] of cases) assert.equal(partDone(progress(more)), expected, JSON.stringify(more));
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

/** A meter on a clock that the test moves, and its output. */
function rig(options: Partial<MeterOptions> = {}) {
  const clock: Clock = install({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const seen: string[] = [];
  const view: ProgressView = {
    draw: ({ rows, totalRows }) => void seen.push(`${rows}${totalRows === undefined ? "" : ` of ${totalRows}`}`),
    end: ({ rows, done }) => void seen.push(`${done ? "whole" : "stopped"} ${rows}`),
  };
  const meter = startMeter({ action: "Pulling", name: "trips", view, ...options });
  return { clock, seen, meter, [Symbol.dispose]: () => clock.uninstall() };
}

Deno.test("a meter shows nothing of a transfer that ends within a second", async () => {
  using r = rig();
  r.meter.add(10, 100);
  await r.clock.tickAsync(999);
  await r.meter.complete();
  await r.meter[Symbol.asyncDispose]();
  await r.clock.tickAsync(5000);
  assert.deepEqual(r.seen, []);
});

Deno.test("a meter shows a longer transfer at most four times a second, and its end once", async () => {
  for (const whole of [true, false]) {
    using r = rig();
    for (let ms = 0; ms < 2000; ms++) {
      r.meter.add(1, 10);
      await r.clock.tickAsync(1);
    }
    assert.ok(r.seen.length >= 4 && r.seen.length <= 5, String(r.seen.length));
    if (whole) await r.meter.complete();
    await r.meter[Symbol.asyncDispose]();
    await r.meter[Symbol.asyncDispose]();
    await r.clock.tickAsync(5000);
    assert.equal(r.seen.at(-1), `${whole ? "whole" : "stopped"} 2000`);
    assert.equal(r.seen.filter((line) => /whole|stopped/.test(line)).length, 1);
  }
});

Deno.test("a meter shows that a transfer waits, and goes on when a view fails or is slow", async () => {
  using r = rig();
  await r.clock.tickAsync(3000);
  assert.ok(r.seen.length > 5 && r.seen.every((line) => line === "0"), String(r.seen));
  await r.meter[Symbol.asyncDispose]();

  let draws = 0;
  const slow = startMeter({
    action: "Pulling",
    name: "trips",
    view: { draw: () => (draws++, new Promise((resolve) => setTimeout(resolve, 1000))), end: () => Promise.reject(1) },
  });
  await r.clock.tickAsync(4000);
  assert.ok(draws === 3 || draws === 4, String(draws));
  const ended = slow[Symbol.asyncDispose]();
  await r.clock.tickAsync(1000);
  await ended;

  const broken = startMeter({ action: "Pulling", name: "trips", view: { draw: () => assert.fail(), end() {} } });
  await r.clock.tickAsync(1500);
  await broken[Symbol.asyncDispose]();
});

Deno.test("onProgress is called at most four times a second, and at the end", async () => {
  const heard: Progress[] = [];
  using r = rig({ show: false, totalBytes: 4000, onProgress: (progress) => heard.push(progress) });
  for (let ms = 0; ms < 2000; ms++) {
    await r.clock.tickAsync(1);
    r.meter.add(1, 2);
  }
  await r.meter.complete();
  await r.meter[Symbol.asyncDispose]();
  assert.equal(heard.length, 9);
  assert.deepEqual(heard[0], {
    rows: 250,
    bytes: 500,
    elapsed: 250,
    rowsPerSecond: 1000,
    bytesPerSecond: 2000,
    totalBytes: 4000,
    done: false,
  });
  assert.deepEqual([heard.at(-1)!.rows, heard.at(-1)!.done, heard.at(-2)!.done], [2000, true, false]);
  assert.deepEqual(r.seen, []);
});

Deno.test("an error of onProgress is thrown where rows are counted", async () => {
  const own = new Error("mine");
  using r = rig({
    onProgress: () => {
      throw own;
    },
  });
  r.meter.add(1, 1);
  await r.clock.tickAsync(300);
  assert.throws(() => r.meter.add(1, 1), own);
  await assert.rejects(r.meter.complete(), own);
  await r.meter[Symbol.asyncDispose]();
});

Deno.test("a rejection of onProgress is thrown by the next count, or at the end", async () => {
  const own = new Error("mine");
  for (const next of ["count", "end", "none"]) {
    using r = rig({ onProgress: () => Promise.reject(own) });
    await r.clock.tickAsync(300);
    r.meter.add(1, 1);
    await r.clock.tickAsync(1);
    if (next === "count") assert.throws(() => r.meter.add(1, 1), own);
    if (next === "end") await assert.rejects(r.meter.complete(), own);
    await r.meter[Symbol.asyncDispose](); // and where nothing comes, it is no error that nobody handles
  }
});

Deno.test("the end waits for onProgress, which is not called again before it has settled", async () => {
  const heard: string[] = [];
  using r = rig({
    onProgress: async ({ rows, done }) => {
      heard.push(`${rows}`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      heard.push(`${rows} heard`);
      if (done) throw new Error("at the end");
    },
  });
  for (let ms = 0; ms < 900; ms++) {
    await r.clock.tickAsync(1);
    r.meter.add(1, 1);
  }
  const ended = r.meter.complete().catch((error) => heard.push(error.message));
  await r.clock.tickAsync(3000);
  await ended;
  assert.deepEqual(heard, ["250", "250 heard", "900", "900 heard", "at the end"]);
  await r.meter[Symbol.asyncDispose]();
});

Deno.test("the total is requested once, after the first second, and may fail or arrive late", async () => {
  let asked = 0;
  using r = rig({
    totalRows: async () => {
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 600));
      return 77;
    },
  });
  await r.clock.tickAsync(999);
  assert.equal(asked, 0);
  await r.clock.tickAsync(2000);
  assert.equal(asked, 1);
  assert.deepEqual([r.seen[0], r.seen.at(-1)], ["0", "0 of 77"]);
  await r.meter[Symbol.asyncDispose]();

  const fails: (() => Promise<number | undefined>)[] = [
    () => Promise.reject(new Error("no")),
    () => {
      throw new Error("no");
    },
    () => Promise.resolve(undefined),
  ];
  for (const totalRows of fails) {
    using quiet = startable({ totalRows });
    await r.clock.tickAsync(1500);
    assert.deepEqual(quiet.seen.at(-1), "undefined");
    await quiet.meter[Symbol.asyncDispose]();
  }
});

function startable(options: Partial<MeterOptions>) {
  const seen: string[] = [];
  const view: ProgressView = { draw: ({ totalRows }) => void seen.push(String(totalRows)), end() {} };
  const meter = startMeter({ action: "Pulling", name: "trips", view, ...options });
  return { seen, meter, [Symbol.dispose]() {} };
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
