import assert from "node:assert/strict";
import { ByteBuffer } from "flatbuffers";
import { LakebaseError } from "../../../mod.ts";
import { readArrow, readParquet } from "../../../src/transfer/formats/columnar_reader.ts";
import { limitListLengths } from "../../../src/transfer/formats/arrow/apache_arrow.ts";
import { openArrow } from "../../../src/transfer/formats/arrow/open.ts";
import { openParquet } from "../../../src/transfer/formats/parquet/read/open.ts";
import { errorOf } from "../../support/queries.ts";
import { newSeed, randomFrom, sized } from "../../support/random.ts";
import { requires } from "../../support/requirements.ts";
import { readAll } from "./files.ts";
import { casesFolder, casesMissing, fileTest, python } from "./readers.ts";

/** The expected result: the number of rows and the first row, or the words of the error. */
const CASES: Record<string, [rows: number, first: (string | null)[]] | RegExp> = {
  "nation.dict-malformed.parquet": [25, [
    "0",
    "\\x414c4745524941",
    "0",
    `\\x${new TextEncoder().encode(" haggle. carefully final deposits detect slyly agai").toHex()}`,
  ]],
  "dict-page-offset-zero.parquet": [39, ["1552"]],
  "repeated_no_annotation.parquet": [6, ["1", null]],
  "negative-timetz.parquet": /row 1, column "col33": the time of day is -13899000000 microseconds after midnight/,
  "empty_group_test.parquet":
    /: column "nested" has a struct without fields \(nested\.inner\), which Postgres can't represent/,
  "ARROW-17100.parquet": [5, ["1", "a", "1", "a"]],
  "bigdecimal.parquet": [6, ["50000000000000000000000000000000000000e-38"]],
  "plaintext_footer_crypto_metadata.parquet": /: column "i" is encrypted; write it without encryption$/,
  "large_string_map.brotli.parquet":
    /column "arr.key_value.key": it has a page of 1\.1 GB; pages of up to 1 GB can be read here$/,
  "big-endian-null.arrows": /: it is big-endian; /,
};

Deno.test({
  ...requires("(slow) files of other projects that once caused errors are read or refused", casesMissing),
  fn: async () => {
    for (const [name, expected] of Object.entries(CASES)) {
      const path = `${casesFolder()}/${name}`;
      const open = () => name.endsWith(".parquet") ? readParquet(path) : readArrow(path);
      if (expected instanceof RegExp) {
        const error = await errorOf(async () => await readAll(await open()));
        assert.equal(error.code, "BAD_FILE");
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /damaged/);
      } else {
        const { texts, rows } = await readAll(await open());
        assert.deepEqual([rows, texts[0]], expected, name);
      }
    }
  },
});

const INT96 = `
import sys, datetime as d, pyarrow as pa, pyarrow.parquet as pq
days = [d.datetime(9999, 12, 31, 3), d.datetime(1, 1, 1), None, d.datetime(1600, 1, 1), d.datetime(2024, 3, 2, 12, 30, 0, 1)]
t = pa.table({"at": pa.array(days, pa.timestamp("us")), "l": pa.array([[x] for x in days], pa.list_(pa.timestamp("us")))})
pq.write_table(t, sys.argv[1], use_deprecated_int96_timestamps=True, store_schema=False)
print("null")
`;

fileTest(
  "96-bit times of Spark, Hive and Impala are read, even beyond the range of nanoseconds",
  async (folder) => {
    const path = `${folder}/int96.parquet`;
    await python(INT96, path);
    const { types, texts } = await readAll(await readParquet(path));
    assert.deepEqual(types, { at: "timestamp", l: "timestamp[]" });
    const times = [
      "9999-12-31 03:00:00",
      "0001-01-01 00:00:00",
      null,
      "1600-01-01 00:00:00",
      "2024-03-02 12:30:00.000001",
    ];
    assert.deepEqual(texts, times.map((time) => [time, time === null ? "{NULL}" : `{"${time}"}`]));
  },
);

/** Writes the same rows in every encoding, with lists that continue on the next page. */
const ENCODINGS = `
import sys, json, pyarrow as pa, pyarrow.parquet as pq
n = 3000
t = pa.table({
 "i": pa.array([None if x % 7 == 0 else x * 2654435761 % 2**31 - 2**30 for x in range(n)], pa.int32()),
 "b": pa.array([None if x % 5 == 0 else x * 11400714819323198485 % 2**64 - 2**63 for x in range(n)]),
 "s": [None if x % 3 == 0 else f"row {x % 40}" * (x % 4) for x in range(n)],
 "f": pa.array([x / 7 for x in range(n)]), "o": pa.array([x % 11 < 5 for x in range(n)]),
 "x": pa.array([x.to_bytes(3, "big") for x in range(n)], pa.binary(3)),
 "l": [None if x % 10 == 0 else [None if y % 4 == 1 else y for y in range(x % 9)] for x in range(n)],
 "m": [None if x % 6 == 0 else [{"a": [y] * (y % 3), "b": None if y % 2 else str(y)} for y in range(x % 4)] for x in range(n)],
})
flat = {"i": "DELTA_BINARY_PACKED", "b": "DELTA_BINARY_PACKED", "f": "BYTE_STREAM_SPLIT", "x": "BYTE_STREAM_SPLIT", "o": "RLE"}
options = [
 dict(), dict(data_page_size=100, write_batch_size=7), dict(data_page_size=100, write_batch_size=7, data_page_version="2.0"),
 dict(use_dictionary=False), dict(compression="gzip", row_group_size=1000), dict(compression="lz4", dictionary_pagesize_limit=500),
 dict(use_dictionary=False, column_encoding=flat | {"s": "DELTA_BYTE_ARRAY"}),
 dict(use_dictionary=False, column_encoding=flat | {"s": "DELTA_LENGTH_BYTE_ARRAY"}, data_page_version="2.0", data_page_size=300),
 dict(write_page_checksum=True, compression="zstd"),
]
for at, option in enumerate(options): pq.write_table(t, f"{sys.argv[1]}/{at}.parquet", **option)
rows = t.to_pylist()
text = lambda v: None if v is None else str(v).lower() if isinstance(v, bool) else "\\\\x" + v.hex() if isinstance(v, bytes) else repr(v) if isinstance(v, float) else \\
  "{" + ",".join("NULL" if y is None else f'"{y}"' for y in v) + "}" if isinstance(v, list) and not any(isinstance(y, dict) for y in v) else \\
  json.dumps(v, separators=(",", ":")) if isinstance(v, list) else str(v)
print(json.dumps({"files": len(options), "rows": [["[]" if k == "m" and v == [] else text(v) for k, v in r.items()] for r in rows]}))
`;

fileTest(
  "(slow) every encoding, and rows and lists that span pages, are read as pyarrow reads them",
  async (folder) => {
    const { files, rows } = await python<{ files: number; rows: (string | null)[][] }>(ENCODINGS, folder);
    const whole = rows.map((row) => row.map((text, at) => at === 3 ? String(Number(text)) : text));
    for (let file = 0; file < files; file++) {
      const { texts } = await readAll(await readParquet(`${folder}/${file}.parquet`));
      assert.deepEqual(texts, whole, `file ${file}`);
    }
  },
);

const SMALL = `
import sys, pyarrow as pa, pyarrow.parquet as pq
n = 60
t = pa.table({"i": pa.array([None if x % 7 == 0 else x for x in range(n)]), "s": [f"row {x % 20}" for x in range(n)],
  "l": [[x, None][:x % 3] for x in range(n)]})
pq.write_table(t, sys.argv[1] + "/0.parquet")
for name, compression in [("0", None), ("1", "lz4"), ("2", "zstd")]:
  options = pa.ipc.IpcWriteOptions(compression=compression)
  with pa.OSFile(f"{sys.argv[1]}/{name}.arrow", "wb") as f, pa.ipc.new_file(f, t.schema, options=options) as w: w.write_table(t)
  with pa.OSFile(f"{sys.argv[1]}/{name}.arrows", "wb") as f, pa.ipc.new_stream(f, t.schema, options=options) as w: w.write_table(t)
pq.write_table(t, sys.argv[1] + "/1.parquet", use_dictionary=False, compression="zstd", data_page_version="2.0",
  column_encoding={"i": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "l.list.element": "DELTA_BINARY_PACKED"})
print("null")
`;

/** Reads a file without a worker, because starting one for each of some thousand files would take a second. */
async function readHere(path: string): Promise<string> {
  try {
    await using file = await (path.endsWith(".parquet") ? openParquet(path) : openArrow(path));
    let rows = 0;
    for await (const batch of file.batches(file.columns.map((_, index) => index))) rows += batch.rows;
    return `${rows} rows`;
  } catch (error) {
    assert.ok(error instanceof LakebaseError && error.code === "BAD_FILE", String(error));
    return error.message;
  }
}

/** Positions in a file: all of them in a long run, otherwise one in 43, and different ones each time. */
function placesIn({ length }: Uint8Array, from = 0): number[] {
  const every = sized(43, 1);
  const first = from + randomFrom(newSeed()).below(every);
  return Array.from({ length: Math.max(0, Math.ceil((length - first) / every)) }, (_, n) => first + n * every);
}

fileTest(
  "a Parquet file that is cut off at any byte, or has one wrong byte, gives an error or rows",
  async (folder) => {
    await python(SMALL, folder);
    for (const name of ["0", "1"]) {
      const whole = await Deno.readFile(`${folder}/${name}.parquet`);
      const path = `${folder}/bad.parquet`;
      for (const length of placesIn(whole)) {
        await Deno.writeFile(path, whole.subarray(0, length));
        assert.match(
          await readHere(path),
          /it is (not a Parquet file|cut off|damaged)|it is cut off$/,
          `${length} bytes`,
        );
      }
      for (const at of placesIn(whole, 4)) {
        const bytes = whole.slice();
        bytes[at]! ^= 0xa5;
        await Deno.writeFile(path, bytes);
        await readHere(path);
      }
    }
  },
);

fileTest(
  "(slow) an Arrow file or stream that is cut off at any byte, or has one wrong byte, gives an error or rows",
  async (folder) => {
    limitListLengths(); // as the worker does
    await python(SMALL, folder);
    for (const name of ["0.arrow", "1.arrow", "2.arrow", "0.arrows", "1.arrows", "2.arrows"]) {
      const whole = await Deno.readFile(`${folder}/${name}`);
      const path = `${folder}/bad.arrow`;
      for (const length of placesIn(whole)) {
        await Deno.writeFile(path, whole.subarray(0, length));
        const outcome = await readHere(path);
        // A stream may end after any message. The mark at its end is optional.
        const isWhole = name.endsWith("s") && /^(0|60) rows$/.test(outcome);
        assert.ok(
          isWhole || /it is (not an Arrow file|cut off|damaged)/.test(outcome),
          `${name}, ${length} bytes: ${outcome}`,
        );
      }
      for (const at of placesIn(whole, 8)) {
        const bytes = whole.slice();
        bytes[at]! ^= 0xa5;
        await Deno.writeFile(path, bytes);
        await readHere(path);
      }
    }
  },
);

const EMPTY_STREAM = `
import sys, pyarrow as pa
t = pa.table({"a": [1]})
with pa.OSFile(sys.argv[1] + "/v6.arrows", "wb") as f, pa.ipc.new_stream(f, t.schema) as w: w.write_table(t)
with pa.OSFile(sys.argv[1] + "/v6.arrow", "wb") as f, pa.ipc.new_file(f, t.schema) as w: w.write_table(t)
print("null")
`;

/** Changes the metadata at a position, so that it has a future version. */
function ofNextVersion(bytes: Uint8Array, from: number): void {
  const buffer = new ByteBuffer(bytes.subarray(from));
  const root = buffer.readInt32(0);
  buffer.writeInt16(root + buffer.__offset(root, 4), 5);
}

fileTest("an unknown version of Arrow's format is refused", async (folder) => {
  await python(EMPTY_STREAM, folder);
  const stream = await Deno.readFile(`${folder}/v6.arrows`);
  ofNextVersion(stream, 8);
  await Deno.writeFile(`${folder}/v6.arrows`, stream);
  const file = await Deno.readFile(`${folder}/v6.arrow`);
  const end = file.length - "ARROW1".length - 4;
  ofNextVersion(file, end - new DataView(file.buffer).getInt32(end, true));
  await Deno.writeFile(`${folder}/v6.arrow`, file);
  for (const name of ["v6.arrows", "v6.arrow"]) {
    const { code, message } = await errorOf(readArrow(`${folder}/${name}`));
    assert.equal(code, "BAD_FILE");
    assert.match(message, /it is of version V6 of Arrow's format; up to V5 can be read here$/);
  }
});
