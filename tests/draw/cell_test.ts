import assert from "node:assert/strict";
import { cellText } from "../../src/draw/cell.ts";

const text = (value: unknown, type = "text", limit = 200): string | undefined => cellText(value, type, limit)?.text;

Deno.test("cellText() draws each kind of value", () => {
  const cyclic: Record<string, unknown> = { a: 1 };
  cyclic.self = cyclic;
  const cases: [value: unknown, type: string, expected: string | undefined][] = [
    [null, "text", undefined],
    [undefined, "text", undefined],
    ["", "text", ""],
    ["NULL", "text", "NULL"],
    [9007199254740993n, "int8", "9007199254740993"],
    [NaN, "float8", "NaN"],
    [-Infinity, "float8", "-Infinity"],
    [-0, "float8", "-0"],
    [0.1, "float8", "0.1"],
    ["1.50", "numeric", "1.50"],
    [true, "bool", "true"],
    [new Date("2026-01-02T03:04:05.678Z"), "timestamptz", "2026-01-02 03:04:05.678Z"],
    [new Date("2026-01-02T03:04:05Z"), "timestamptz", "2026-01-02 03:04:05Z"],
    [new Date(NaN), "timestamptz", "Invalid Date"],
    [new Uint8Array(), "bytea", "\\x"],
    [new Uint8Array([1, 255]), "bytea", "\\x01ff"],
    [new Uint8Array(1234), "bytea", `\\x${"00".repeat(16)}… (1,234 bytes)`],
    [[1, null, 3], "_int4", "{1,NULL,3}"],
    [["a b", "NULL", "", 'q"\\', "x"], "text[]", '{"a b","NULL","","q\\"\\\\",x}'],
    [[[1], [2]], "_int4", "{{1},{2}}"],
    [[], "_int4", "{}"],
    [[1, null, "a"], "jsonb", '[1,null,"a"]'],
    ["a", "jsonb", '"a"'],
    [{ a: { b: [1n, undefined, NaN] } }, "jsonb", '{"a":{"b":[1,null,NaN]}}'],
    [JSON.parse('{"__proto__":1,"then":2}'), "json", '{"__proto__":1,"then":2}'],
    [cyclic, "json", '{"a":1,"self":"[circular]"}'],
    [{ toJSON: () => "from toJSON" }, "text", '"from toJSON"'],
    [{ at: new Date(0) }, "json", '{"at":"1970-01-01 00:00:00Z"}'],
    [new Map<unknown, unknown>([["a", 1], [2, null]]), "text", '{"a":1,"2":null}'],
    [new Set([1, "a"]), "text", '[1,"a"]'],
    [Symbol("s"), "text", "Symbol(s)"],
    [function named() {}, "text", "[function named]"],
    [new RangeError("no"), "text", "RangeError: no"],
    [Object.create(null), "text", "{}"],
  ];
  for (const [value, type, expected] of cases) assert.equal(text(value, type), expected);
});

Deno.test("cellText() shows something for a value that throws", () => {
  const boom = (): never => {
    throw new Error("boom");
  };
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const values = [
    { toJSON: boom },
    new Proxy({}, { ownKeys: boom, get: boom, getPrototypeOf: boom }),
    revoked.proxy,
    Object.defineProperty(new Date(), "toISOString", { value: boom }),
    Object.defineProperty(() => 1, "name", { get: boom }),
    Object.defineProperty(new Error("x"), "message", { get: boom }),
  ];
  for (const type of ["text", "json", "_text"]) {
    for (const value of values) assert.match(text(value, type) ?? "", /cannot be shown|function/);
    assert.equal(
      text({
        get a() {
          return boom();
        },
        b: 1,
      }, type),
      '{"a":"[threw]","b":1}',
    );
  }
});

Deno.test("cellText() stops at the limit, whatever the value's size", () => {
  let deep: unknown = 1;
  for (let level = 0; level < 100_000; level++) deep = [deep];
  const endless = { toJSON: () => ({ endless, more: endless }) };
  const sparse: unknown[] = [];
  sparse.length = 2 ** 32 - 1;
  for (const value of [deep, endless, sparse, "x".repeat(5e7), { x: "y".repeat(5e7) }, Array(1e6).fill({ a: 1 })]) {
    for (const type of ["text", "jsonb", "_text"]) assert.ok((text(value, type, 50) ?? "").length <= 50);
  }
});

Deno.test("cellText() gives the length of a cut text, but not of a cut structure", () => {
  assert.deepEqual(cellText("abcdef", "text", 4), { text: "abcd", cut: true, length: 6 });
  assert.deepEqual(cellText({ abcdef: 1 }, "json", 4), { text: '{"ab', cut: true });
});
