import assert from "node:assert/strict";
import { LakebaseError } from "../../mod.ts";
import { errorOf } from "../query/support.ts";
import { checkFormatOptions, checkPullOptions, type PullOptions } from "../../src/transfer/pull_options.ts";
import { openTarget, planTarget, type PullTarget } from "../../src/transfer/target.ts";
import { keeping, namesIn } from "./support.ts";

Deno.test("planTarget() tells the format by the extension, or by the option", () => {
  const cases: readonly (readonly [target: PullTarget, options: PullOptions, format: string, gzip: boolean])[] = [
    ["trips.csv", {}, "csv", false],
    ["a.b/TRIPS.CSV.GZ", {}, "csv", true],
    ["trips.tsv", {}, "tsv", false],
    ["trips.ndjson.gz", {}, "ndjson", true],
    ["trips.jsonl", {}, "ndjson", false],
    ["trips.arrow", {}, "arrow", false],
    [".parquet/trips.parquet", {}, "parquet", false],
    ["trips", { format: "csv" }, "csv", false],
    ["trips.gz", { format: "tsv" }, "tsv", true],
    ["trips.csv.gz", { gzip: false }, "csv", false],
    ["-", { format: "ndjson", gzip: true }, "ndjson", true],
    [new URL("file:///tmp/trips.csv"), {}, "csv", false],
    [keeping().stream, { format: "arrow" }, "arrow", false],
  ];
  for (const [target, options, format, gzip] of cases) {
    const plan = planTarget(target, options);
    assert.deepEqual([plan.format, plan.gzip], [format, gzip], String(target));
  }
});

Deno.test("planTarget() and the checks refuse what can't be, with what to do", () => {
  const cases: readonly (readonly [target: unknown, options: unknown, message: RegExp])[] = [
    ["trips.parqet", {}, /trips\.parqet ends in \.parqet, which is no known format; did you mean \.parquet\?/],
    ["trips.xlsx", {}, /use one of csv, tsv, ndjson, arrow, parquet, or give \{ format: "csv" \}/],
    ["trips", {}, /ends in no extension/],
    ["trips.gz", {}, /ends in no extension/],
    [".csv", {}, /ends in no extension/],
    ["-", {}, /no name to tell the format by; give \{ format: "csv" \}/],
    [keeping().stream, {}, /no name to tell the format by/],
    ["trips.parquet.gz", {}, /parquet is not packed as a whole; leave out \.gz/],
    ["", {}, /the target is "", which is no path/],
    ["a\0.csv", {}, /which is no path/],
    [5, {}, /the target is a number; it must be a path, a WritableStream or "-"/],
    [null, {}, /the target is null/],
    [undefined, {}, /the target is undefined;/],
    [new URL("https://example.com/a.csv"), {}, /the target is a URL of https:; a file: URL or a path is wanted/],
    ["a.csv", { fromat: "csv" }, /there is no option "fromat"; did you mean "format"\?/],
    ["a.csv", { format: "xls" }, /format is "xls"; it must be "csv", "tsv", "ndjson", "arrow", "parquet"/],
    ["a.csv", { header: "no" }, /header is "no"; it must be true or false/],
    ["a.csv", { delimiter: "::" }, /delimiter is "::"; it must be one character of ASCII/],
    ["a.csv", { delimiter: "a" }, /delimiter is "a"/],
    ["a.csv", { nullText: 'a"' }, /nullText is 'a"'; it must be a text without quotes/],
    ["a.csv", { columns: [] }, /columns is \[\]; it must be a list of different columns' names/],
    ["a.csv", { columns: ["a", "a"] }, /columns is \[ "a", "a" \]/],
    ["a.csv", { timeout: -1 }, /timeout is -1/],
    ["a.csv", { signal: {} }, /signal is \{\}; it must be an AbortSignal/],
    ["a.csv", { parallel: 1.5 }, /parallel is 1\.5; it must be a whole number/],
    ["a.csv", { compression: "zstd" }, /compression is for parquet; the format is csv/],
    ["a.ndjson", { header: true }, /header is for csv, tsv; the format is ndjson/],
    ["a.arrow", { gzip: true }, /gzip is for csv, tsv, ndjson; the format is arrow/],
    ["a.csv", null, /the options must be an object such as \{ format: "csv" \}/],
    ["a.csv", "csv", /the options must be an object/],
  ];
  for (const [target, options, message] of cases) {
    const check = () => {
      const checked = checkPullOptions(options as PullOptions);
      checkFormatOptions(checked, planTarget(target as PullTarget, checked).format);
    };
    assert.throws(check, (error) => {
      assert.ok(error instanceof LakebaseError && error.code === "BAD_PARAMETER", String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-target-" });
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const BYTES = new TextEncoder().encode("whole\n");

Deno.test("a file is there when it is whole, and takes the place of one that was, with its mode", () =>
  inFolder(async (folder) => {
    const path = `${folder}/t.csv`;
    const first = await openTarget(path, undefined);
    await first.write(BYTES);
    assert.deepEqual(namesIn(folder).map((name) => name.replace(/[0-9a-f]{8}/, "*")), [".t.csv.*.part"]);
    await first.commit();
    assert.deepEqual(namesIn(folder), ["t.csv"]);
    await Deno.chmod(path, 0o640);
    const second = await openTarget(path, undefined);
    await second.write(new TextEncoder().encode("half"));
    assert.equal(await Deno.readTextFile(path), "whole\n");
    await second.abort("no more");
    assert.equal(await Deno.readTextFile(path), "whole\n");
    const third = await openTarget(path, undefined);
    await third.commit();
    assert.equal(await Deno.readTextFile(path), "");
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o640);
    assert.deepEqual(namesIn(folder), ["t.csv"]);
  }));

Deno.test("a link stays one: the file that it leads to is replaced", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/there`);
    await Deno.writeTextFile(`${folder}/there/real.csv`, "old");
    await Deno.symlink(`${folder}/there/real.csv`, `${folder}/link.csv`);
    const sink = await openTarget(`${folder}/link.csv`, undefined);
    await sink.write(BYTES);
    await sink.commit();
    assert.equal(await Deno.readTextFile(`${folder}/there/real.csv`), "whole\n");
    assert.ok((await Deno.lstat(`${folder}/link.csv`)).isSymlink);
    assert.deepEqual(namesIn(`${folder}/there`), ["real.csv"]);
  }));

Deno.test("a name of 255 bytes has room for the file beside it", () =>
  inFolder(async (folder) => {
    const name = `${"é".repeat(125)}.csv`;
    const sink = await openTarget(`${folder}/${name}`, undefined);
    await sink.commit();
    assert.deepEqual(namesIn(folder), [name]);
  }));

Deno.test("openTarget() says why a file can't be written", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    const cases: readonly (readonly [path: string, message: RegExp])[] = [
      [folder, /: it is a folder; name a file in it$/],
      [`${folder}/none/t.csv`, /there is no folder .*\/none; make it first$/],
      [`${folder}/file/t.csv`, /\/file is no folder$/],
      [`${folder}/${"x".repeat(300)}.csv`, /name too long/i],
    ];
    for (const [path, message] of cases) {
      const error = await errorOf(openTarget(path, undefined));
      assert.equal(error.code, "BAD_FILE");
      assert.match(error.message, message);
    }
    assert.deepEqual(namesIn(folder), ["file"]);
  }));

Deno.test({
  name: "openTarget() takes no for an answer",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const error = await errorOf(openTarget("/sys/t.csv", undefined)); // nobody may make a file there, root neither
    assert.deepEqual([error.code, error.message], [
      "BAD_FILE",
      "Cannot write /sys/t.csv: no permission to write there",
    ]);
  },
});

Deno.test({
  name: "a full disk is called so, and what is no ordinary file is written to as it is",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const full = await openTarget("/dev/full", undefined);
    const error = await errorOf(full.write(BYTES));
    assert.deepEqual([error.code, error.message], ["BAD_FILE", "Cannot write /dev/full: the disk is full"]);
    await full.abort(error);
    const nothing = await openTarget("/dev/null", undefined);
    await nothing.write(BYTES);
    await nothing.commit();
    assert.ok((await Deno.stat("/dev/null")).isCharDevice);
  },
});

Deno.test("a stream is waited for, closed at the end, aborted on failure, and refused when locked", async () => {
  const { stream, text, state } = keeping();
  const sink = await openTarget(stream, undefined);
  await sink.write(BYTES);
  await sink.commit();
  assert.deepEqual([text(), state()], ["whole\n", "closed"]);
  const other = keeping();
  await (await openTarget(other.stream, undefined)).abort(new Error("no more"));
  assert.equal(other.state(), "aborted: no more");
  assert.match((await errorOf(openTarget(other.stream, undefined))).message, /the stream is locked/);
});
