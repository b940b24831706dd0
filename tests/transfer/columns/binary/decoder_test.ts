import assert from "node:assert/strict";
import { LakebaseError } from "../../../../mod.ts";
import type { Batch, ColumnData } from "../../../../src/transfer/columns/batch.ts";
import { BatchDecoder } from "../../../../src/transfer/columns/binary/decoder.ts";
import { valueReader } from "../../../../src/transfer/columns/value.ts";
import { newSeed, randomFrom } from "../../../support/random.ts";
import { columnsOf, copyOf, HEADER, hex, int32, row, TRAILER } from "./copy_bytes.ts";

const MIXED = columnsOf({ id: "int4", fare: "numeric(10,2)", zone: "text", paid: "bool", tags: "int2[]" });
const MIXED_ROWS = [
  [
    int32(-2),
    "0002 0000 0000 0002 0001 1388",
    "e382b2",
    "01",
    `${int32(1)}${int32(0)}${int32(21)}${int32(2)}${int32(1)}
    ${int32(2)}0007${int32(2)}ffff`,
  ],
  [null, null, null, null, null],
  [int32(7), "0000 0000 0000 0000", "", "00", `${int32(0)}${int32(0)}${int32(21)}`],
  [
    int32(8),
    "0001 0000 4000 0002 000a",
    "ab".repeat(40),
    "01",
    `${int32(1)}${int32(1)}${int32(21)}${int32(1)}${int32(1)}
    ffffffff`,
  ],
];
const MIXED_VALUES = [
  [-2, "1.50", "ゲ", true, [7, -1]],
  [null, null, null, null, null],
  [7, "0.00", "", false, []],
  [8, "-10.00", "\ufffd".repeat(40), true, [null]],
];

function decode(types: Record<string, string>, bytes: Uint8Array): Batch {
  const decoder = new BatchDecoder(columnsOf(types));
  decoder.push(bytes);
  decoder.end();
  return decoder.take();
}

function valuesOf({ rows, columns }: Batch): unknown[][] {
  const readers = columns.map(valueReader);
  return Array.from({ length: rows }, (_, at) => readers.map((read) => read(at)));
}

function one(type: string, value: string | null): ColumnData {
  return decode({ v: type }, copyOf([[value]])).columns[0]!;
}

/** The message of the error that decoding throws. */
function problem(types: Record<string, string>, bytes: Uint8Array): string {
  try {
    decode(types, bytes);
  } catch (error) {
    assert.ok(error instanceof LakebaseError, String(error));
    assert.equal(error.code, "QUERY_FAILED");
    return error.message;
  }
  throw new Error("the bytes were decoded");
}

Deno.test("BatchDecoder reads the same rows however their bytes are split", () => {
  const bytes = copyOf(MIXED_ROWS);
  const splits = [...bytes.keys()].map((at) => [at, bytes.length]);
  for (const ends of [...splits, [...bytes.keys(), bytes.length], []]) {
    const decoder = new BatchDecoder(MIXED);
    let from = 0;
    for (const end of [...ends, bytes.length]) {
      const chunk = bytes.slice(from, end);
      decoder.push(chunk);
      chunk.fill(0x55); // the caller may reuse the memory
      from = end;
    }
    decoder.end();
    assert.equal(decoder.rows, 4);
    assert.deepEqual(valuesOf(decoder.take()), MIXED_VALUES, `split at ${ends}`);
  }
});

Deno.test("BatchDecoder gives batches that share no memory", () => {
  const columns = columnsOf({ n: "int4", text: "text", list: "text[]" });
  const decoder = new BatchDecoder(columns);
  const list = `${int32(1)}${int32(0)}${int32(25)}${int32(1)}${int32(1)}${int32(1)}7a`;
  decoder.push(hex(HEADER));
  for (let batch = 0; batch < 3; batch++) {
    const rows = Array.from({ length: 3000 }, (_, n) => [int32(batch * 3000 + n), n === 2999 ? null : "6162", list]);
    const bytes = hex(rows.map(row).join(""));
    decoder.push(bytes);
    assert.deepEqual([decoder.rows, decoder.bytes], [3000, bytes.length]);
    const taken = decoder.take();
    assert.deepEqual([decoder.rows, decoder.bytes], [0, 0]);
    const values = valuesOf(taken);
    assert.deepEqual([values[0], values[2999]], [[batch * 3000, "ab", ["z"]], [batch * 3000 + 2999, null, ["z"]]]);
    assert.equal(taken.columns[1]!.nullCount, 1);
  }
  decoder.push(hex(TRAILER));
  decoder.end();
  assert.equal(decoder.take().rows, 0);
});

Deno.test("BatchDecoder lays out columns as Arrow does", () => {
  const batch = decode(
    { at: "timestamptz", day: "date", n: "numeric(20,0)", paid: "bool", json: "jsonb" },
    copyOf([
      ["0000000000000001", int32(0), "0001 0004 4000 0000 0001", "01", `01${hex("7b7d").toHex()}`],
      [null, null, null, null, null],
    ]),
  );
  const [at, day, n, paid, json] = batch.columns.map(({ values, nullBitmap, nullCount, length, offsets }) => {
    assert.deepEqual([nullCount, length, nullBitmap?.length, nullBitmap![0]! & 3], [1, 2, 1, 1]);
    return { values, offsets };
  });
  assert.deepEqual(at!.values, BigInt64Array.of(946_684_800_000_001n, 0n));
  assert.deepEqual(day!.values, Int32Array.of(10957, 0));
  assert.deepEqual(n!.values, Uint32Array.of(...wordsOf(-(10n ** 16n)), 0, 0, 0, 0));
  assert.deepEqual(paid!.values, Uint8Array.of(1));
  assert.deepEqual([json!.values, json!.offsets], [hex("7b7d"), Int32Array.of(0, 2, 2)]);
});

function wordsOf(value: bigint): number[] {
  return [0n, 32n, 64n, 96n].map((shift) => Number(BigInt.asUintN(32, value >> shift)));
}

const DECIMALS: [type: string, bytes: string, value: string][] = [
  ["numeric(10,2)", "0001 0001 0000 0002 0001", "10000.00"],
  ["numeric(10,2)", "0001 ffff 0000 0002 0064", "0.01"],
  ["numeric(15,0)", "0004 0003 0000 0000 03e7 270f 270f 270f", "999999999999999"],
  ["numeric(16,0)", "0004 0003 4000 0000 270f 270f 270f 270f", "-9999999999999999"],
  ["numeric(5,0)", "0001 0001 0000 0000 0009", "90000"],
  ["numeric(38,0)", `000a 0009 0000 0000 0063${"270f".repeat(9)}`, "9".repeat(38)],
  ["numeric(38,38)", `000a ffff 4000 0026 ${"270f".repeat(9)}26ac`, `-0.${"9".repeat(38)}`],
  ["numeric(38,0)", "0001 0009 4000 0000 0063", `-99${"0".repeat(36)}`],
];

Deno.test("BatchDecoder reads decimals of any size exactly", () => {
  for (const [type, bytes, value] of DECIMALS) {
    assert.equal(valueReader(one(type, bytes))(0), value, `${type} ${bytes}`);
  }
});

const LIST = `${int32(1)}${int32(0)}${int32(23)}`;
const ELEMENT = int32(4) + int32(9);

const BAD_VALUES: [type: string, bytes: string, problem: RegExp][] = [
  [
    "numeric(10,2)",
    "0000 0000 c000 0000",
    /column "v" of row 1: a decimal can't be NaN; select it as ::float8 or ::text/,
  ],
  ["numeric(10,2)", "0000 0000 d000 0000", /a decimal can't be NaN/],
  ["numeric(10,2)", "0001 0000 0000 0000", /bytes are not a numeric/],
  ["numeric(10,2)", "0001 0000 1234 0000 0001", /are not a numeric/],
  ["numeric(10,2)", "0001 0000", /4 bytes are too few for a numeric/],
  ["numeric(10,2)", "0001 ffff 0000 0004 0001", /more digits than its column's scale/],
  ["numeric(10,2)", "0001 7fff 0000 0000 0001", /more than 38 digits/],
  ["int4", "0000", /column "v" of row 1: 2 bytes are not a value of type int4/],
  ["timestamptz", "7fffffff ffffff00", /the year 294247/],
  ["jsonb", "027b7d", /an unknown version/],
  ["jsonb", "", /an unknown version/],
  [
    "int4[]",
    `${int32(2)}${int32(0)}${int32(23)}${int32(1)}${int32(1)}${int32(1)}${int32(1)}${ELEMENT}`,
    /2 dimensions.*::text/,
  ],
  ["int4[]", `${LIST}${int32(1)}${int32(0)}${ELEMENT}`, /numbered from 0, which a list can't be; select it as ::text/],
  ["int4[]", `${int32(1)}${int32(0)}${int32(25)}${int32(1)}${int32(1)}${ELEMENT}`, /an array of text, not of int4/],
  ["int4[]", `${LIST}${int32(1)}${int32(1)}${int32(4)}`, /element 1: it does not have 4 bytes/],
  ["int4[]", `${LIST}${int32(1)}${int32(1)}${int32(2)}0000`, /element 1: it does not have 4 bytes/],
  ["int4[]", `${LIST}${int32(2_000_000_000)}${int32(1)}${ELEMENT}`, /can't have 2000000000 elements/],
  ["int4[]", `${LIST}${int32(-1)}${int32(1)}`, /can't have -1 elements/],
  ["int4[]", `${LIST}${int32(1)}${int32(1)}${ELEMENT}00`, /do not end where the array ends/],
  ["int4[]", "0000", /2 bytes are too few for an array/],
  ["int4[]", LIST, /can't have -1 elements/],
  [
    "numeric(4,1)[]",
    `${int32(1)}${int32(0)}${int32(1700)}${int32(1)}${int32(1)}${int32(8)}00000000c0000000`,
    /element 1: a decimal can't be NaN/,
  ],
];

Deno.test("BatchDecoder names the row and the column of a value that it can't store", () => {
  for (const [type, bytes, expected] of BAD_VALUES) assert.match(problem({ v: type }, copyOf([[bytes]])), expected);
  const late = copyOf([...Array(5000).fill([int32(1), "00"]), [int32(1), "0000"]]);
  assert.match(
    problem({ a: "int4", b: "bool" }, late),
    /^Cannot read column "b" of row 5001: 2 bytes are not a value of type bool$/,
  );
});

const BAD_COPIES: [hex: string, problem: RegExp][] = [
  ["", /break off after row 0/],
  [HEADER, /break off after row 0/],
  [HEADER.slice(0, -2), /break off/],
  [HEADER + row([int32(1)]), /break off after row 1/],
  [HEADER + row([int32(1)]) + row([int32(1)]).slice(0, -2), /break off after row 1/],
  ["69642c6e0a312c320a332c340a352c360a372c380a", /their signature is wrong/],
  ["69", /their signature is wrong/],
  [HEADER.replace(/00000000$/, "ffffffff"), /an extension of -1 bytes/],
  [HEADER.slice(0, 22) + "00010000" + "00000000", /unknown flags/],
  [HEADER + row([int32(1), int32(2)]) + TRAILER, /row 1 has 2 values for 1 columns/],
  [HEADER + row([int32(1)]) + "fffe", /row 2 has -2 values/],
  [HEADER + "0001" + "fffffffe", /-2 bytes are not a value of type int4/],
  [HEADER + "0001" + "7fffffff", /2147483647 bytes are not a value of type int4/],
  [HEADER + TRAILER + "00", /more bytes follow their end/],
];

Deno.test("BatchDecoder refuses anything but a binary copy of its columns", () => {
  for (const [bytes, expected] of BAD_COPIES) assert.match(problem({ n: "int4" }, hex(bytes)), expected, bytes);
  assert.match(
    problem({ n: "text" }, hex(HEADER + "0001" + "7fffffff")),
    /2147483647 bytes are not a value of type text/,
  );
  const decoder = new BatchDecoder(columnsOf({ n: "int4" }));
  decoder.push(hex(HEADER + TRAILER));
  assert.throws(() => decoder.push(hex("00")), /more bytes follow their end/);
});

Deno.test("BatchDecoder skips an extension of the header", () => {
  const bytes = hex(HEADER.replace(/00000000$/, int32(3)) + "010203" + row([int32(9)]) + TRAILER);
  assert.deepEqual(valuesOf(decode({ n: "int4" }, bytes)), [[9]]);
});

Deno.test("BatchDecoder counts rows of a table without columns", () => {
  assert.deepEqual(decode({}, copyOf([[], [], []])), { rows: 3, columns: [] });
});

Deno.test("BatchDecoder reads or refuses any bytes", () => {
  const bytes = copyOf(MIXED_ROWS);
  const seed = newSeed();
  const { below } = randomFrom(seed);
  const inputs = new Set<string>();
  for (let round = 0; round < 5000; round++) {
    const broken = bytes.slice();
    for (let change = below(3); change >= 0; change--) broken[19 + below(bytes.length - 19)] = below(256);
    inputs.add(broken.toHex());
    const decoder = new BatchDecoder(MIXED);
    try {
      decoder.push(broken);
      decoder.end();
      decoder.take();
    } catch (error) {
      const found = `seed ${seed}, round ${round}: ${broken.toHex()}`;
      assert.ok(error instanceof LakebaseError, `${(error as Error).stack}\n${found}`);
    }
  }
  assert.ok(inputs.size > 4000, `seed ${seed} made only ${inputs.size} different inputs`);
});

Deno.test("BatchDecoder takes a value of many chunks in linear time", () => {
  const size = 100_000_000;
  const decoder = new BatchDecoder(columnsOf({ big: "bytea" }));
  decoder.push(hex(`${HEADER}0001${int32(size)}`));
  const chunk = new Uint8Array(1000).fill(7); // 100,000 of them: quadratic time would take half an hour
  for (let left = size; left > 0; left -= chunk.length) decoder.push(chunk.subarray(0, Math.min(left, chunk.length)));
  decoder.push(hex(TRAILER));
  decoder.end();
  const { values } = decoder.take().columns[0]!;
  assert.deepEqual([values.length, values[0], values[size - 1]], [size, 7, 7]);
});
