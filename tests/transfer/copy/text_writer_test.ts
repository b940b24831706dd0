import assert from "node:assert/strict";
import type { ColumnType, ColumnValues } from "../../../src/transfer/columns/batch.ts";
import { exactTextReader, textCellWriter } from "../../../src/transfer/columns/copy_cells.ts";
import { CopyByteWriter, CopyTextWriter } from "../../../src/transfer/copy/text_writer.ts";

function written(rows: readonly (readonly (string | null)[])[]): string {
  const writer = new CopyTextWriter((row, column, state) => new Error(`${row}, ${column}: ${state}`));
  for (const row of rows) {
    for (const cell of row) writer.add(cell);
    writer.endRow();
  }
  return new TextDecoder().decode(writer.take());
}

Deno.test("CopyTextWriter escapes the special characters of the text format", () => {
  assert.equal(written([["a", "b"], [null, ""]]), "a\tb\n\\N\t\n");
  assert.equal(written([["\\N", "\\."], ["a\tb\nc\rd\\", "é😀"]]), "\\\\N\t\\\\.\na\\tb\\nc\\rd\\\\\té😀\n");
  assert.equal(written([[], []]), "\n\n");
});

Deno.test("CopyTextWriter names the row and column of a text that can't be written, even after rows were taken", () => {
  assert.throws(() => written([["a"], ["b", "c\0"]]), { message: /^2, 1: has a zero character/ });
  assert.throws(() => written([["a"], ["b"], ["\ud800", "c"]]), { message: /^3, 0: has half of a surrogate pair/ });
  const writer = new CopyTextWriter((row, column) => new Error(`${row}, ${column}`));
  for (const text of ["a", "b", "\0"]) {
    writer.add(text);
    writer.endRow();
    if (text === "b") writer.take();
  }
  assert.throws(() => writer.take(), { message: "3, 0" });
});

const refuse = (row: number, column: number, state: string) => new RangeError(`${row}/${column} ${state}`);
const utf8 = (text: string) => new TextEncoder().encode(text);
const string = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const TEXTS = ["", "Harlem", "a\tb", "a\nb\r\n", "\\N", "\\.", "\\", "é😀\u2028", "\b\f\v\u0001\u007f", "\ufeffx"];

Deno.test("CopyByteWriter writes bytes as CopyTextWriter writes text", () => {
  const texts = new CopyTextWriter(refuse);
  const bytes = new CopyByteWriter(refuse);
  for (const text of TEXTS) {
    for (let column = 0; column < 3; column++) texts.add(text);
    const around = utf8(`<${text}>`);
    bytes.utf8(around, 1, around.length - 1);
    bytes.text(text);
    bytes.utf8(utf8(text), 0, utf8(text).length);
    for (const writer of [texts, bytes]) writer.endRow();
  }
  assert.equal(string(bytes.take()), string(texts.take()));
  assert.equal(bytes.rows, TEXTS.length);
});

Deno.test("CopyByteWriter writes NULL and numbers unchanged", () => {
  const bytes = new CopyByteWriter(refuse);
  for (const text of ["\\N", "-1.50", ""]) bytes.plain(text);
  bytes.endRow();
  assert.equal(string(bytes.take()), "\\N\t-1.50\t\n");
  assert.equal(string(bytes.take()), "");
});

Deno.test("CopyByteWriter does not change taken bytes, and a value may be longer than all values before it", () => {
  const bytes = new CopyByteWriter(refuse);
  const taken: Uint8Array[] = [];
  const expected: string[] = [];
  for (const length of [1, 16_384, 16_385, 70_000, 1_000_000, 3]) {
    for (const text of ["x".repeat(length), "\\".repeat(length), "\n".repeat(length)]) {
      bytes.utf8(utf8(text), 0, length);
      bytes.plain("7".repeat(length));
      bytes.endRow();
      expected.push(`${text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\t${"7".repeat(length)}\n`);
      if (bytes.full) taken.push(bytes.take());
    }
  }
  taken.push(bytes.take());
  assert.ok(taken.length > 5);
  assert.ok(taken.map(string).join("") === expected.join(""));
});

Deno.test("CopyByteWriter refuses a zero character, and names its row and column", () => {
  const bytes = new CopyByteWriter(refuse);
  bytes.plain("1");
  bytes.endRow();
  bytes.plain("2");
  assert.throws(() => bytes.text("a\0b"), { message: /^2\/1 has a zero character/ });
});

const WORDS = (values: readonly bigint[]) =>
  Uint32Array.from(values.flatMap((value) => [0n, 32n, 64n, 96n].map((by) => Number(value >> by & 0xffff_ffffn))));
const LONG = [
  0n,
  1n,
  -1n,
  9n,
  10n,
  -10n,
  99n,
  100n,
  -2147483648n,
  2147483648n,
  4294967295n,
  -4294967296n,
  2n ** 53n - 1n,
];
const LONGER = [2n ** 53n, -(2n ** 53n), 1n - 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 62n];
const MOMENTS = [0n, 1n, 999_999n, 86_399_999_999n, 86_400_000_000n, 1_700_000_000_123_450n, 1_709_164_800_000_000n];

Deno.test("CopyByteWriter writes numbers and timestamps as their texts", () => {
  const cases: [type: ColumnType, values: ColumnValues][] = [
    [{ kind: "int16" }, Int16Array.of(0, 7, -32768, 32767)],
    [{ kind: "int32" }, Int32Array.of(0, -1, 10, 99, 100, -2147483648, 2147483647)],
    [{ kind: "uint32" }, Uint32Array.of(0, 4294967295, 1000000000)],
    [{ kind: "int64" }, BigInt64Array.from([...LONG, ...LONGER])],
    [{ kind: "timestamp", utc: true }, BigInt64Array.from([...MOMENTS, ...LONG, ...LONGER])],
    [{ kind: "timestamp", utc: false }, BigInt64Array.from([...MOMENTS, ...LONGER])],
    ...[0, 1, 2, 18, 38].map((scale): [ColumnType, ColumnValues] => {
      const values = [...LONG, ...LONGER, 2n ** 64n, -(2n ** 64n), 2n ** 31n << 32n, 10n ** 37n, -(10n ** 37n)];
      return [{ kind: "decimal", precision: 38, scale }, WORDS(values)];
    }),
  ];
  for (const [type, values] of cases) {
    const length = values.length / (type.kind === "decimal" ? 4 : 1);
    const data = { name: "x", type, length, nullCount: 0, values };
    const out = new CopyByteWriter(refuse);
    const write = textCellWriter(data);
    const text = exactTextReader(data);
    for (let row = 0; row < length; row++) {
      write(row, out);
      out.endRow();
    }
    const rows = Array.from({ length }, (_, row) => text(row));
    const written = string(out.take()).trimEnd().split("\n");
    if (type.kind !== "timestamp") assert.deepEqual(written, rows, JSON.stringify(type));
    else assert.deepEqual(written.map((each) => each.replace(/(\.\d*?)0+(?=\+|$)/, "$1")), rows);
  }
});

Deno.test("CopyByteWriter writes a boolean as its text", () => {
  const data = { name: "x", type: { kind: "bool" as const }, length: 2, nullCount: 0, values: Uint8Array.of(2) };
  const out = new CopyByteWriter(refuse);
  for (const row of [0, 1]) textCellWriter(data)(row, out);
  assert.equal(string(out.take()), "false\ttrue");
});
