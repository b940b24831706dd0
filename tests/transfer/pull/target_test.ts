import assert from "node:assert/strict";
import { LakebaseError } from "../../../mod.ts";
import { checkFormatOptions, checkPullOptions, type PullOptions } from "../../../src/transfer/pull/options.ts";
import { openSinks, openTarget, planTarget, type PullTarget } from "../../../src/transfer/pull/target.ts";
import { errorOf } from "../../support/queries.ts";
import { namesIn, recordingStream } from "../../support/transfers.ts";

Deno.test("planTarget() finds the format by the extension or the option", () => {
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
    [recordingStream().stream, { format: "arrow" }, "arrow", false],
  ];
  for (const [target, options, format, gzip] of cases) {
    const plan = planTarget(target, options);
    assert.deepEqual([plan.format, plan.gzip], [format, gzip], String(target));
  }
});

Deno.test("planTarget() and the checks of options refuse what is impossible, and say what to do", () => {
  const cases: readonly (readonly [target: unknown, options: unknown, message: RegExp])[] = [
    ["trips.parqet", {}, /trips\.parqet ends in \.parqet, which is not a known format; did you mean \.parquet\?/],
    ["trips.xlsx", {}, /use one of csv, tsv, ndjson, arrow, parquet, or give \{ format: "csv" \}/],
    ["trips", {}, /ends in no extension/],
    ["trips.gz", {}, /ends in no extension/],
    [".csv", {}, /ends in no extension/],
    ["-", {}, /no name that shows the format; give \{ format: "csv" \}/],
    [recordingStream().stream, {}, /no name that shows the format/],
    ["trips.parquet.gz", {}, /parquet is not compressed as a whole; leave out \.gz/],
    ["", {}, /the target is "", which is not a path/],
    ["a\0.csv", {}, /which is not a path/],
    [5, {}, /the target is a number; it must be a path, a WritableStream or "-"/],
    [null, {}, /the target is null/],
    [undefined, {}, /the target is undefined;/],
    [new URL("https://example.com/a.csv"), {}, /the target is a URL of https:; give a path or a file: URL/],
    ["a.csv", { fromat: "csv" }, /there is no option "fromat"; did you mean "format"\?/],
    ["a.csv", { format: "xls" }, /format is "xls"; it must be "csv", "tsv", "ndjson", "arrow", "parquet"/],
    ["a.csv", { header: "no" }, /header is "no"; it must be true or false/],
    ["a.csv", { delimiter: "::" }, /delimiter is "::"; it must be one ASCII character/],
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
    ["a.parquet", { header: false }, /header is for csv, tsv; the format is parquet/],
    ["a.ndjson", { header: false }, /header is for csv, tsv; the format is ndjson/],
    ["a.parquet", { header: false, delimiter: ";" }, /header is for csv, tsv/],
    ["a.parquet", { gzip: false, nullText: "" }, /nullText is for csv, tsv; the format is parquet/],
    ["a.tsv", { rowGroupSize: 5 }, /rowGroupSize is for parquet; the format is tsv/],
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

Deno.test("an option that has no effect is accepted", () => {
  for (const format of ["arrow", "parquet"] as const) checkFormatOptions({ gzip: false }, format);
});

const BYTES = new TextEncoder().encode("whole\n");

Deno.test("a stream is waited for, closed at the end, aborted on failure, and refused when locked", async () => {
  const { stream, text, state } = recordingStream();
  const sink = await openTarget(stream, undefined);
  await sink.write(BYTES);
  await sink.commit(undefined);
  assert.deepEqual([text(), state()], ["whole\n", "closed"]);
  const other = recordingStream();
  await (await openTarget(other.stream, undefined)).abort(new Error("no more"), undefined);
  assert.equal(other.state(), "aborted: no more");
  assert.match((await errorOf(openTarget(other.stream, undefined))).message, /the stream is locked/);
});

Deno.test("several files are replaced only after all are complete, and a failure to replace one is reported", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-sinks-" });
  try {
    const sinks = await openSinks({ target: `${folder}/t-{n}.csv`, format: "csv", gzip: false, folder: false }, {
      parallel: 3,
    }, undefined);
    for (const sink of sinks.all) await sink.write(new TextEncoder().encode("id\n"));
    assert.equal(sinks.outcome, "they were removed, and no file was replaced");
    await sinks.flush();
    assert.ok(namesIn(folder).every((name) => name.endsWith(".part")));
    await Deno.mkdir(`${folder}/t-2.csv/in the way`, { recursive: true });
    await assert.rejects(sinks.commit(undefined), { code: "BAD_FILE" });
    await sinks.abort(undefined, undefined);
    assert.equal(sinks.outcome, "1 of 3 files are complete, and the others were removed");
    assert.deepEqual(namesIn(folder), ["t-1.csv", "t-2.csv"]);
    assert.equal(await Deno.readTextFile(`${folder}/t-1.csv`), "id\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("files left by an earlier pull with more connections are refused before a file is opened", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-sinks-" });
  const open = (name: string, parallel: number) => {
    return openSinks(
      { target: `${folder}/${name}`, format: "parquet", gzip: false, folder: false },
      { parallel },
      undefined,
    );
  };
  try {
    for (const name of ["h-1.parquet", "h-2.parquet", "h-3.parquet", "gap-9.parquet"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "old");
    }
    await Deno.symlink("nowhere", `${folder}/link-2.parquet`);
    const before = namesIn(folder);
    const cases: [name: string, parallel: number, message: RegExp][] = [
      [
        "h-{n}.parquet",
        2,
        /Cannot write .*h-\{n\}\.parquet: the pull writes 2 files, and .*h-3\.parquet exists.*delete it/,
      ],
      ["h-{n}.parquet", 1, /the pull writes 1 file, and .*h-2\.parquet exists/],
      ["gap-{n}.parquet", 2, /gap-9\.parquet exists/],
      ["link-{n}.parquet", 1, /link-2\.parquet exists/],
    ];
    for (const [name, parallel, message] of cases) {
      await assert.rejects(open(name, parallel), (error: LakebaseError) => {
        assert.equal(error.code, "BAD_FILE");
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(namesIn(folder), before);
    }
    await (await open("h-{n}.parquet", 3)).abort(undefined, undefined); // the new files replace all old ones
    assert.deepEqual(namesIn(folder), before);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
