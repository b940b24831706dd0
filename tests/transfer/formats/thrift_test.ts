import assert from "node:assert/strict";
import { Thrift, ThriftWriter } from "../../../src/transfer/formats/parquet/thrift.ts";
import { readThrift, type ThriftStruct } from "../../../src/transfer/formats/parquet/thrift_reader.ts";

Deno.test("a struct of Thrift is read as it was written", () => {
  const thrift = new ThriftWriter();
  thrift.integer(1, -1);
  thrift.integer(2, 2 ** 52, Thrift.i64);
  thrift.bool(4, true);
  thrift.bool(5, false);
  thrift.binary(7, "é");
  thrift.integers(8, [0, -64, 64, 2 ** 31 - 1]);
  thrift.texts(9, Array.from({ length: 20 }, (_, at) => "x".repeat(at)));
  thrift.struct(10, () => thrift.struct(3, () => thrift.byte(1, 16)));
  thrift.structs(11, [1, 2], (item) => thrift.integer(15, item));
  const read = readThrift(thrift.end());
  assert.deepEqual([1, 2, 4, 5, 8].map((field) => read.get(field)), [-1, 2 ** 52, true, false, [
    0,
    -64,
    64,
    2 ** 31 - 1,
  ]]);
  assert.deepEqual(read.get(7), new TextEncoder().encode("é"));
  assert.equal((read.get(9) as unknown[]).length, 20);
  assert.equal(((read.get(10) as ThriftStruct).get(3) as ThriftStruct).get(1), 16);
  assert.deepEqual((read.get(11) as ThriftStruct[]).map((item) => [...item]), [[[15, 1]], [[15, 2]]]);
});

Deno.test("a field of a struct of Thrift can be left out", () => {
  const thrift = new ThriftWriter();
  const fields = [1, 4, 6, 7];
  thrift.structs(2, [0, 1], () => fields.forEach((field) => thrift.integer(field, field * 100)));
  const bytes = thrift.end();
  for (const field of fields) {
    const second = (readThrift(bytes).get(2) as ThriftStruct[])[1]!;
    const [before, left] = readThrift(second.without(field, bytes)).get(2) as ThriftStruct[];
    assert.deepEqual([...before!.keys()], fields);
    assert.deepEqual([...left!], fields.filter((other) => other !== field).map((other) => [other, other * 100]));
  }
  const long = Uint8Array.from([0x05, 0x02, 0x02, 0x00]); // its number stands behind its head
  assert.throws(() => readThrift(long).without(1, long), /in an unusual way/);
});

Deno.test("what is no struct of Thrift ends in an error, and soon", () => {
  const cases: [bytes: number[], message: RegExp][] = [
    [[], /breaks off/],
    [[0x15], /breaks off/],
    [[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f], /breaks off/],
    [[0x19, 0xf5, 0xff, 0xff, 0xff, 0x7f], /longer than itself/],
    [[0x15, ...Array(20).fill(0xff)], /number without end/],
    [[0x1d], /field of the type 13/],
    [Array(1000).fill(0x1c), /has no end/],
  ];
  for (const [bytes, message] of cases) assert.throws(() => readThrift(Uint8Array.from(bytes)), message);
});
