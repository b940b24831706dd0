import assert from "node:assert/strict";
import { type ColumnarFile, readArrow, readParquet } from "../../../src/transfer/formats/columnar_reader.ts";
import { decompressLz4 } from "../../../src/transfer/formats/arrow/apache_arrow.ts";
import { openArrow } from "../../../src/transfer/formats/arrow/open.ts";
import { errorOf } from "../../support/queries.ts";
import { readAll } from "./files.ts";
import { duckdb, fileTest, python } from "./readers.ts";

/**
 * The expected result of each column in the files that Python writes: the Postgres type, and the texts of its three
 * rows.
 */
const COLUMNS: Record<string, [postgres: string, first: string, last: string]> = {
  i8: ["smallint", "-128", "127"],
  u8: ["smallint", "0", "255"],
  u16: ["integer", "0", "65535"],
  u32: ["bigint", "0", "4294967295"],
  u64: ["numeric(20)", "0", "18446744073709551615"],
  f16: ["real", "1.5", "-2"],
  d: ["numeric(5,2)", "1.50", "-0.05"],
  d256: ["numeric", "150e-2", `-${"9".repeat(60)}50e-2`],
  date64: ["date", "2026-01-31", "1969-12-31"],
  t_s: ["time", "01:02:03", "23:59:59"],
  t_ns: ["time", "00:00:00", "23:59:59.999999"],
  ts_s: ["timestamp", "1970-01-01 00:00:00", "1969-12-31 23:59:59"],
  ts_ms: ["timestamptz", "1970-01-01 00:00:00.001000+00", "1969-12-31 23:59:59.999+00"],
  ts_ns: ["timestamptz", "1970-01-01 00:00:00.000001+00", "1969-12-31 23:59:59.999999+00"],
  dur: ["interval", "1.500 seconds", "-0.001 seconds"],
  s: ["text", "a", "é"],
  ls: ["text", "a", "é"],
  sv: ["text", "short", "longer than twelve bytes"],
  bv: ["bytea", "\\x00", "\\x6c6f6e676572207468616e207477656c7665206279746573"],
  fb: ["bytea", "\\x616263", "\\x78797a"],
  lb: ["bytea", "\\x61", "\\x"],
  dict: ["text", "x", "x"],
  dicti: ["bigint", "5", "6"],
  l: ["integer[]", '{"1",NULL}', "{}"],
  ll: ["text[]", '{"a"}', "{}"],
  fl: ["integer[]", '{"1","2"}', '{"3",NULL}'],
  st: ["jsonb", '{"a":1,"b":"x"}', '{"a":null,"b":"\\"q\\""}'],
  lst: ["jsonb", '[{"a":1152921504606846976}]', "[]"],
  lll: ["jsonb", "[[1],[]]", "[null]"],
  map: ["jsonb", '{"k":1.5}', "{}"],
  sts: ["jsonb", '{"t":"2026-01-31T01:02:03.000456+00:00","d":1.50,"by":"\\\\x01"}', '{"t":null,"d":null,"by":null}'],
  bo: ["boolean", "true", "false"],
  u: ["uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"],
};

const PYARROW = `
import sys, uuid, datetime as d, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as feather
from decimal import Decimal as D
folder, n, us = sys.argv[1], None, pa.timestamp("us", "UTC")
t = pa.table({
 "i8": pa.array([-128, n, 127], pa.int8()), "u8": pa.array([0, n, 255], pa.uint8()),
 "u16": pa.array([0, n, 65535], pa.uint16()), "u32": pa.array([0, n, 2**32 - 1], pa.uint32()),
 "u64": pa.array([0, n, 2**64 - 1], pa.uint64()), "f16": pa.array([1.5, n, -2.0], pa.float16()),
 "d": pa.array([D("1.50"), n, D("-0.05")], pa.decimal128(5, 2)),
 "d256": pa.array([D("1.50"), n, D("-" + "9" * 60 + ".5")], pa.decimal256(70, 2)),
 "date64": pa.array([d.date(2026, 1, 31), n, d.date(1969, 12, 31)], pa.date64()),
 "t_s": pa.array([d.time(1, 2, 3), n, d.time(23, 59, 59)], pa.time32("s")),
 "t_ns": pa.array([1, n, 86399999999999], pa.time64("ns")), "ts_s": pa.array([0, n, -1], pa.timestamp("s")),
 "ts_ms": pa.array([1, n, -1], pa.timestamp("ms", "UTC")),
 "ts_ns": pa.array([1001, n, -1], pa.timestamp("ns", "Europe/Paris")), "dur": pa.array([1500, n, -1], pa.duration("ms")),
 "s": pa.array(["a", n, "é"]), "ls": pa.array(["a", n, "é"], pa.large_string()),
 "sv": pa.array(["short", n, "longer than twelve bytes"], pa.string_view()),
 "bv": pa.array([b"\\0", n, b"longer than twelve bytes"], pa.binary_view()),
 "fb": pa.array([b"abc", n, b"xyz"], pa.binary(3)), "lb": pa.array([b"a", n, b""], pa.large_binary()),
 "dict": pa.array(["x", n, "x"]).dictionary_encode(), "dicti": pa.array([5, n, 6]).dictionary_encode(),
 "l": pa.array([[1, n], n, []], pa.list_(pa.int32())), "ll": pa.array([["a"], n, []], pa.large_list(pa.string())),
 "fl": pa.array([[1, 2], n, [3, n]], pa.list_(pa.int32(), 2)),
 "st": pa.array([{"a": 1, "b": "x"}, n, {"a": n, "b": '"q"'}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
 "lst": pa.array([[{"a": 2**60}], n, []], pa.list_(pa.struct([("a", pa.int64())]))),
 "lll": pa.array([[[1], []], n, [n]], pa.list_(pa.list_(pa.int32()))),
 "map": pa.array([[("k", 1.5)], n, []], pa.map_(pa.string(), pa.float64())),
 "sts": pa.array([{"t": d.datetime(2026, 1, 31, 1, 2, 3, 456), "d": D("1.50"), "by": b"\\1"}, n, {}],
   pa.struct([("t", us), ("d", pa.decimal128(5, 2)), ("by", pa.binary())])),
 "bo": pa.array([True, n, False]),
 "u": pa.array([uuid.UUID(int=1).bytes, n, uuid.UUID(int=2).bytes], pa.uuid()),
})
with pa.OSFile(folder + "/file.arrow", "wb") as f, pa.ipc.new_file(f, t.schema) as w: w.write_table(t)
with pa.OSFile(folder + "/stream.arrow", "wb") as f, pa.ipc.new_stream(f, t.schema) as w: w.write_table(t)
for c in ["lz4", "zstd"]: feather.write_feather(t, f"{folder}/{c}.arrow", compression=c)
for c in ["snappy", "zstd", "gzip", "lz4", "brotli", "none"]: pq.write_table(t, f"{folder}/{c}.parquet", compression=c)
pq.write_table(t, folder + "/v2.parquet", data_page_version="2.0", use_dictionary=False)
big = pa.table({"s": [f"row {i % 100} " * 3 for i in range(200000)], "i": list(range(200000))})
feather.write_feather(big, folder + "/big.arrow", compression="lz4")
pq.write_table(big, folder + "/big.parquet", row_group_size=70000)
print("null")
`;

const POLARS = `
import sys, datetime as d, polars as pl
p = pl.DataFrame({"s": ["a", None, "longer than twelve bytes"], "c": pl.Series(["x", "y", None], dtype=pl.Categorical),
 "l": [[1], None, []], "t": [d.datetime(2026, 1, 31), None, d.datetime(1900, 1, 1)],
 "n": pl.Series(["1.50", None, "2.25"]).cast(pl.Decimal(10, 2))})
p.write_parquet(sys.argv[1] + "/polars.parquet")
p.write_ipc(sys.argv[1] + "/polars.arrow", compression="lz4")
print("null")
`;

function open(path: string): Promise<ColumnarFile> {
  return path.endsWith(".parquet") ? readParquet(path) : readArrow(path);
}

fileTest("(slow) every type and compression that pyarrow writes is read", async (folder) => {
  await python(PYARROW, folder);
  const files = ["file.arrow", "stream.arrow", "lz4.arrow", "zstd.arrow", "v2.parquet"];
  const parquets = ["snappy", "zstd", "gzip", "lz4", "brotli", "none"].map((name) => `${name}.parquet`);
  const types = Object.fromEntries(Object.entries(COLUMNS).map(([name, [postgres]]) => [name, postgres]));
  const rows = Object.values(COLUMNS);
  const texts = [rows.map(([, first]) => first), rows.map(() => null), rows.map(([, , last]) => last)];
  for (const name of [...files, ...parquets]) {
    const found = await readAll(await open(`${folder}/${name}`));
    assert.deepEqual(found, { types, texts, rows: 3 }, name);
  }
  const bytes = (await Deno.open(`${folder}/file.arrow`)).readable;
  assert.deepEqual((await readAll(await readArrow(bytes))).texts, texts);
  for (const name of ["big.arrow", "big.parquet"]) {
    const { texts } = await readAll(await open(`${folder}/${name}`));
    assert.deepEqual([texts.length, texts[199_999]], [200_000, ["row 99 row 99 row 99 ", "199999"]], name);
  }
});

fileTest("files that polars wrote are read", async (folder) => {
  await python(POLARS, folder);
  for (const name of ["polars.parquet", "polars.arrow"]) {
    const { types, texts } = await readAll(await open(`${folder}/${name}`));
    assert.deepEqual(types, { s: "text", c: "text", l: "bigint[]", t: "timestamp", n: "numeric(10,2)" });
    assert.deepEqual(texts, [
      ["a", "x", '{"1"}', "2026-01-31 00:00:00", "1.50"],
      [null, "y", null, null, null],
      ["longer than twelve bytes", null, "{}", "1900-01-01 00:00:00", "2.25"],
    ], name);
  }
});

fileTest("a file of DuckDB, which has no Arrow schema, is read", async (folder) => {
  const path = `${folder}/duck.parquet`;
  const id = "00000000-0000-0000-0000-000000000001";
  await duckdb(`COPY (SELECT uuid '${id}' AS u, '{"a":1}'::json AS j, [uuid '${id}'] AS lu, {'a': 1} AS st,
    interval 36 hours AS i, timestamp_ns '2026-01-31 00:00:00.123456789' AS ns) TO '${path}'`);
  const { types, texts } = await readAll(await open(path));
  assert.deepEqual(types, { u: "uuid", j: "jsonb", lu: "uuid[]", st: "jsonb", i: "interval", ns: "timestamp" });
  const moment = "2026-01-31 00:00:00.123456";
  assert.deepEqual(texts, [[id, '{"a":1}', `{"${id}"}`, '{"a":1}', "0 mons 0 days 129600.000 seconds", moment]]);
  await duckdb(`COPY (SELECT 1 AS n WHERE false) TO '${path}'`);
  assert.deepEqual(await readAll(await open(path)), { types: { n: "integer" }, texts: [], rows: 0 });
});

/** Files of pyarrow with a column of 80,000 zero bytes, which are compressed to fewer, and a shorter column. */
const ZEROS = `
import sys, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as feather
t = pa.table({"n": [0] * 10000, "m": [0] * 10000},
  pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("m", pa.int16(), nullable=False)]))
for c in ["lz4", "zstd"]: feather.write_feather(t, f"{sys.argv[1]}/{c}.arrow", compression=c)
for c in ["zstd", "gzip", "brotli"]: pq.write_table(t, f"{sys.argv[1]}/{c}.parquet", compression=c, use_dictionary=False)
print("null")
`;

/** Replaces each occurrence of some bytes by other bytes of the same length. */
function replaced(bytes: Uint8Array, from: Uint8Array, to: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  let found = 0;
  for (let at = 0; at + from.length <= copy.length; at++) {
    if (!from.every((byte, index) => copy[at + index] === byte)) continue;
    copy.set(to, at);
    found++;
  }
  assert.ok(found > 0, "the size is not in the file");
  return copy;
}

/** The number of bytes as Thrift writes it in Parquet's page headers: a zigzag varint. */
function thriftSize(size: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = size * 2; bytes.length === 0 || rest > 0; rest = Math.floor(rest / 128)) {
    bytes.push(rest % 128 | (rest >= 128 ? 128 : 0));
  }
  return Uint8Array.from(bytes);
}

/** The columns of a file in Arrow's format, read in this thread; all of them if none are named. */
async function readHere(path: string, chosen?: readonly number[]): Promise<unknown[]> {
  await using file = await openArrow(path);
  const batches = await Array.fromAsync(file.batches(chosen ?? file.columns.map((_, at) => at)));
  return batches.flatMap(({ columns }) => columns);
}

fileTest("a column of an Arrow file has the same values with and without the other columns", async (folder) => {
  await python(PYARROW, folder);
  for (const name of ["file.arrow", "stream.arrow", "lz4.arrow", "zstd.arrow"]) {
    const path = `${folder}/${name}`;
    const whole = await readHere(path);
    assert.equal(whole.length, Object.keys(COLUMNS).length);
    for (const [at, column] of whole.entries()) assert.deepEqual(await readHere(path, [at]), [column], name);
    const some = [1, 17, 19, 22, 26, 31];
    assert.deepEqual(await readHere(path, some), some.map((at) => whole[at]));
  }
});

fileTest("the columns of an Arrow file that are not chosen are not decompressed", async (folder) => {
  await python(ZEROS, folder);
  const int64 = (size: number) => new Uint8Array(BigInt64Array.of(BigInt(size)).buffer);
  for (const name of ["zstd.arrow", "lz4.arrow"]) {
    const path = `${folder}/${name}`;
    await Deno.writeFile(path, replaced(await Deno.readFile(path), int64(80_000), int64(40_000)));
    const file = await readArrow(path);
    const chosen = [{ index: 1, name: "m", bytesAsText: false }];
    const pieces = await Array.fromAsync(file.copy({ name, columns: chosen, expected: [] }));
    await file[Symbol.asyncDispose]();
    assert.equal(pieces.reduce((sum, { rows }) => sum + rows, 0), 10_000);
    await assert.rejects(readHere(path), { code: "BAD_FILE" });
  }
});

fileTest("a compressed block becomes no larger than its header says", async (folder) => {
  await python(ZEROS, folder);
  const int64 = (size: number) => new Uint8Array(BigInt64Array.of(BigInt(size)).buffer);
  const limits: [name: string, size: (size: number) => Uint8Array, message: RegExp][] = [
    ["zstd.arrow", int64, /larger than 40000 bytes/],
    ["lz4.arrow", int64, /becomes more than the 40000 bytes/],
    ["zstd.parquet", thriftSize, /larger than 40000 bytes/],
    ["gzip.parquet", thriftSize, /larger than 40000 bytes/],
    ["brotli.parquet", thriftSize, /larger than 40000 bytes/],
  ];
  for (const [name, size, message] of limits) {
    const bytes = await Deno.readFile(`${folder}/${name}`);
    await Deno.writeFile(`${folder}/${name}`, replaced(bytes, size(80_000), size(40_000)));
    await assert.rejects(async () => await readAll(await open(`${folder}/${name}`)), { code: "BAD_FILE", message });
    if (size !== int64) continue;
    await Deno.writeFile(`${folder}/${name}`, replaced(bytes, size(80_000), size(2 ** 40)));
    const endless = { code: "BAD_FILE", message: /a compressed buffer states a size of 1099511627776 bytes/ };
    await assert.rejects(async () => await readAll(await open(`${folder}/${name}`)), endless);
  }
});

/** A frame with one block: an "a", and a match that repeats it. */
function lz4Frame(extra: number): Uint8Array {
  const block = [0x1f, 0x61, 1, 0, ...Array(extra).fill(255), 0];
  const frame = new Uint8Array(7 + 4 + block.length + 4);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 0x184d_2204, true);
  view.setUint32(7, block.length, true);
  frame.set(block, 11);
  return frame;
}

Deno.test("decompressLz4() decompresses to the stated size, and no further", () => {
  const size = 1 + 4 + 15 + 255 * 100;
  assert.equal(decompressLz4(lz4Frame(100), size).length, size);
  assert.throws(() => decompressLz4(lz4Frame(100), size - 1), /becomes more than the 25519 bytes/);
  assert.throws(() => decompressLz4(lz4Frame(100_000), 1000), /becomes more than the 1000 bytes/);
});

fileTest("files of other formats and incomplete files are refused", async (folder) => {
  const parquet = `${folder}/rows.parquet`;
  await duckdb(`COPY (SELECT i, 'row ' || i AS t FROM range(50000) AS r(i)) TO '${parquet}' (COMPRESSION zstd)`);
  const whole = await Deno.readFile(parquet);
  const cases: [name: string, bytes: Uint8Array, message: RegExp][] = [
    [
      "text.parquet",
      new TextEncoder().encode("id,name\n1,Ada Lovelace\n"),
      /"text.parquet": it is not a Parquet file$/,
    ],
    ["empty.parquet", new Uint8Array(), /it is not a Parquet file$/],
    [
      "cut.parquet",
      whole.subarray(0, whole.length / 2),
      /begins as a Parquet file but does not end as one: it is cut off$/,
    ],
    ["secret.parquet", new TextEncoder().encode("PARE............PARE"), /it is encrypted$/],
    ["footer.parquet", damaged(whole, whole.length - 40, 30), /it is cut off, or damaged \(/],
    ["pages.parquet", damaged(whole, 40, 200), /damaged \(column "i": /],
    ["text.arrow", new TextEncoder().encode("id,name\n1,Ada Lovelace\n"), /"text.arrow": it is not an Arrow file$/],
    ["empty.arrow", new Uint8Array(), /it is not an Arrow file$/],
    ["cut.arrow", new TextEncoder().encode("ARROW1\0\0 and no end"), /begins as an Arrow file but does not end as one/],
  ];
  for (const [name, bytes, message] of cases) {
    await Deno.writeFile(`${folder}/${name}`, bytes);
    const error = await errorOf(async () => await readAll(await open(`${folder}/${name}`)));
    assert.equal(error.code, "BAD_FILE", name);
    assert.match(error.message, message);
  }
  for (
    const [path, message] of [[`${folder}/missing.x`, /there is no such file$/], [folder, /it is a folder/]] as const
  ) {
    for (const read of [readArrow, readParquet]) {
      const error = await errorOf(read(path));
      assert.equal(error.code, "BAD_FILE");
      assert.match(error.message, message);
    }
  }
});

fileTest("a stream that fails ends the reading with the stream's error", async () => {
  const failing = (async function* () {
    yield await Promise.resolve(new TextEncoder().encode("ARROW1\0\0"));
    throw new RangeError("the source broke");
  })();
  await assert.rejects(readArrow(failing), new RangeError("the source broke"));
});

fileTest("a stream that sends no more bytes can be closed", async (folder) => {
  await python(PYARROW, folder);
  const bytes = await Deno.readFile(`${folder}/stream.arrow`);
  const source = (async function* () {
    yield bytes.subarray(0, bytes.length - 4);
    await new Promise(() => {});
  })();
  const file = await readArrow(source);
  const columns = file.columns.map(({ name }, index) => ({ index, name, bytesAsText: false }));
  const rows = file.copy({ name: "the stream", columns, expected: [] })[Symbol.asyncIterator]();
  const reading = assert.rejects(async () => void await rows.next(), /its reader has ended$/);
  await file[Symbol.asyncDispose]();
  await reading;
});

function damaged(whole: Uint8Array, from: number, length: number): Uint8Array {
  const bytes = whole.slice();
  for (let at = from; at < from + length; at++) bytes[at]! ^= 0x5a;
  return bytes;
}
