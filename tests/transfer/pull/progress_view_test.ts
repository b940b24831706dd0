import assert from "node:assert/strict";
import { jupyterMissing, runCells, runNotebook } from "../../support/jupyter.ts";
import { textOf } from "../../support/notebook.ts";
import { requires } from "../../support/requirements.ts";

/** Real time, because cells run in another process: a meter is shown after a second, then four times a second. */
const METER = `import { startMeter } from "${new URL("../../../src/transfer/progress.ts", import.meta.url)}";
  const seconds = (n) => new Promise((resolve) => setTimeout(resolve, n * 1000));
  async function move(n, whole = true) {
    await using meter = startMeter({ action: "Pulling", name: "trips", totalRows: 100 });
    for (let i = 0; i < 10; i++) { meter.add(10, 1000); await seconds(n / 10); }
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
