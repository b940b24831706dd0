import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { LoadOptions, LoadResult } from "../../../mod.ts";
import { records, usualDialect } from "../../../src/transfer/load/dialect.ts";
import { errorOf } from "../../support/queries.ts";
import { newSeed, randomFrom } from "../../support/random.ts";
import { type PullTest, pullTest } from "../../support/transfers.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const utf16 = (text: string) => new Uint8Array(Uint16Array.from(`\ufeff${text}`, (char) => char.charCodeAt(0)).buffer);

/** Loads bytes into a new table. Returns its rows in the file's order, and the result as text. */
async function loaded(
  { db, folder }: PullTest,
  name: string,
  bytes: string | Uint8Array,
  options: LoadOptions = {},
): Promise<{ rows: unknown[][]; result: LoadResult }> {
  const path = `${folder}/${name}`;
  await Deno.writeFile(path, typeof bytes === "string" ? bytesOf(bytes) : bytes);
  await db.query("DROP TABLE IF EXISTS dialect");
  const result = await db.load("dialect", path, { create: true, ...options });
  const rows = await db.query("SELECT * FROM dialect");
  const table = [rows.fields.map(({ name }) => name), ...rows.map((row) => Object.values(row))];
  await db.query("DROP TABLE dialect");
  return { rows: table, result };
}

type Case = readonly [
  what: string,
  name: string,
  bytes: string | Uint8Array,
  options: LoadOptions,
  rows: unknown[][],
  guess?: object,
];

const CASES: readonly Case[] = [
  ["quotes that are inch marks", "a.csv", 'id,v\n1,6" x\n2,7" y\n', {}, [["id", "v"], [1, '6" x'], [2, '7" y']]],
  [
    "quotes of JSON and around words",
    "a.csv",
    'id,v\n1,{"a": 1}\n2,a "b" c\n',
    {},
    [["id", "v"], [1, '{"a": 1}'], [2, 'a "b" c']],
  ],
  [
    "a backslash that escapes, as an option says",
    "a.csv",
    'id,v\n1,"say \\"hi\\""\n2,"a\\\\b"\n',
    { escape: "\\" },
    [["id", "v"], [1, 'say "hi"'], [2, "a\\b"]],
  ],
  [
    "a backslash that escapes, as the file shows",
    "a.csv",
    'id,v\n1,"say \\"hi\\""\n2,"a\\\\b"\n',
    {},
    [["id", "v"], [1, 'say "hi"'], [2, "a\\b"]],
    { escape: "\\" },
  ],
  [
    "semicolons and a decimal comma",
    "a.csv",
    "id;preis;wort\n1;3,50;a,5\n2;4,25;b\n",
    { decimal: "," },
    [["id", "preis", "wort"], [1, "3.50", "a,5"], [2, "4.25", "b"]],
    { delimiter: ";" },
  ],
  ["apostrophes", "a.csv", "'id','v'\n'1','a,''b'\n", {}, [["id", "v"], [1, "a,'b"]], { quote: "'" }],
  ["an index that is dropped", "a.csv", ",id,v\n0,1,a\n1,2,b\n", { index: "drop" }, [["id", "v"], [1, "a"], [2, "b"]]],
  ["an index that is named", "a.csv", ",id\n0,5\n", { index: "row" }, [["row", "id"], [0, 5]]],
  ["latin1", "a.csv", latin1("id,name\n1,Zo\u00eb\n"), { encoding: "latin1" }, [["id", "name"], [1, "Zoë"]]],
  ["UTF-16 with a byte order mark", "a.csv", utf16("id,name\n1,Zoë\n"), {}, [["id", "name"], [1, "Zoë"]], {
    encoding: "utf-16le",
  }],
  ["blank lines", "a.csv", "id,v\n1,a\n\n2,b\n\n", { skipBlankLines: true }, [["id", "v"], [1, "a"], [2, "b"]]],
  ["mixed line ends", "a.csv", "id,v\r\n1,a\n2,b\r\n", { skipBlankLines: true }, [["id", "v"], [1, "a"], [2, "b"]]],
  ["lines before the header", "a.csv", "made by\nus\nid,v\n1,a\n", { skip: 2 }, [["id", "v"], [1, "a"]]],
  ["comments", "a.csv", "# by us\nid,v\n1,a\n# so far\n2,#b\n", { comment: "#" }, [["id", "v"], [1, "a"], [2, "#b"]]],
  ["comments in TSV", "a.tsv", "id\tv\n#\n1\ta\\tb\n", { comment: "#" }, [["id", "v"], [1, "a\tb"]]],
  ["columns with new names", "a.csv", "Trip ID,v\n1,a\n", { columns: { "Trip ID": "trip" } }, [["trip", "v"], [
    1,
    "a",
  ]]],
  [
    "new names in NDJSON",
    "a.ndjson",
    '{"Trip ID": 1, "v": "a"}\n',
    { columns: { "Trip ID": "trip" } },
    [["trip", "v"], [1, "a"]],
  ],
  ["a JSON array", "a.json", '[{"id": 1, "v": "a"},\n {"id": 2, "v": null}]\n', {}, [["id", "v"], [1, "a"], [
    2,
    null,
  ]]],
  [
    "JSON whose values have several lines",
    "a.json",
    '\ufeff[\r\n {\r\n "id": 1,\r\n "v": [1,\n2]}\r\n,\n{"id":2}\n]\n',
    {},
    [["id", "v"], [1, [1, 2]], [2, null]],
  ],
  ["NDJSON in a file named .json", "a.json", '{"id":1}\n{"id":2}', {}, [["id"], [1], [2]]],
  ["JSON objects with nothing between them", "a.json", '{"v":"}]"}{"v":"\\""}', {}, [["v"], ["}]"], ['"']]],
  ["JSON in a file without an extension", "rows", '[{"id": 1}]', {}, [["id"], [1]]],
  ["CSV packed with zstd", "a.csv.zst", zstdCompressSync("id,v\n1,a\n"), {}, [["id", "v"], [1, "a"]]],
  [
    "two zstd frames",
    "a.ndjson.zst",
    new Uint8Array([...zstdCompressSync('{"id":1}\n'), ...zstdCompressSync('{"id":2}\n')]),
    {},
    [["id"], [1], [2]],
  ],
];

for (const [what, name, bytes, options, rows, guess] of CASES) {
  pullTest(`load() reads ${what}`, async (test) => {
    const found = await loaded(test, name, bytes, options);
    assert.deepEqual(found.rows, rows);
    assert.deepEqual(found.result.guess, guess);
    const text = guess === undefined ? /^\d+ rows? into the new table public\.dialect, / : /\(found: \w+ "/;
    assert.match(String(found.result), text);
  });
}

const FAULTS: readonly (readonly [name: string, bytes: string | Uint8Array, options: LoadOptions, message: RegExp])[] =
  [
    [
      "a.csv",
      ",id,v\n0,1,a\n",
      {},
      /no name for column 1; if it is an index .* \{ index: "drop" \}, or \{ index: "id" \}/,
    ],
    ["a.csv", "id,v\n1,a\n", { index: "drop" }, /first column without a name; that of a\.csv is "id"/],
    [
      "a.csv",
      latin1("id,name\n1,Zo\u00eb\n"),
      {},
      /line 2: invalid byte sequence[^]*HINT: .*\{ encoding: "windows-1252" \}/,
    ],
    ["a.csv", latin1("id,name\n1,Zo\u00eb\n"), { comment: "#" }, /not in UTF-8; .*\{ encoding: "windows-1252" \}/],
    ["a.csv", utf16("id\n\ud800\n").subarray(2), { encoding: "utf-16le" }, /is not in utf-16le, at line 1 or soon/],
    ["a.csv", "id,v\n1,a\n\n2,b\n", {}, /line 3: missing data[^]*HINT: .*\{ skipBlankLines: true \}/],
    ["a.csv", "id,v\n1,a\n\n2,b\n", { comment: "#" }, /line 3 of a\.csv is empty; \{ skipBlankLines: true \}/],
    ["a.csv", "x\nid,v\n1,a\n2\n", { skip: 1 }, /line 4: missing data/],
    [
      "a.csv",
      "x\n#\nid,v\n1,a\n\n2\n",
      { skip: 1, comment: "#", skipBlankLines: true },
      /line 6 of a\.csv has 1 values/,
    ],
    [
      "a.csv",
      "#\nid,v\n1,a\n\n2,x\n",
      { comment: "#", skipBlankLines: true, types: { v: "int" } },
      /line 3, column v/,
    ],
    [
      "a.csv",
      `id,v\n${"1,a\n".repeat(100_000)}2,"say \\"hi\\""\n`,
      {},
      /line 100,002 has a backslash before a quote; use/,
    ],
    ["a.csv", 'id,v\n#\n1,"a\n', { comment: "#" }, /a quote is never closed, at line 2 or/],
    [
      "a.csv",
      "id,v\n1,2\n",
      { columns: { w: "x" } },
      /\{ "w": "x" \} \} renames a column that a\.csv does not have; did you mean "v"\?/,
    ],
    ["a.csv", "1,2\n", { header: false, columns: { w: "x" } }, /has no header that names any/],
    [
      "a.csv",
      `${"n".repeat(64)}\n1\n`,
      {},
      /64 bytes in its name; Postgres keeps 63: rename it: \{ columns: \{ "n+": "/,
    ],
    ["a.csv", "id\n1\n", { encoding: "latn1" }, /encoding is "latn1"; it must be a name that TextDecoder knows/],
    ["a.csv", "id\n1\n", { quote: "," }, /delimiter and quote are both ","/],
    [
      "a.tsv",
      "id\n1\n",
      { quote: '"' },
      /quote is for CSV; tabs with quotes are \{ format: "csv", delimiter: "\\t" \}/,
    ],
    ["a.ndjson", '{"id":1}\n', { skip: 1 }, /skip is for CSV and TSV/],
    ["a.json", '[{"id":1},{"id":2', {}, /it ends in the middle, at line 1; it is cut off/],
    ["a.json", '[{"id":1}] x', {}, /line 1 continues after the end of the array/],
    ["a.json", '[{"id":1}\n {"id":2}]', {}, /line 2 has no comma between two objects/],
    ["a.json", '[{"id":1},\n]', {}, /line 2 has a comma after the last object/],
    ["a.json", '[,{"id":1}]', {}, /line 1 has a comma where an object must begin/],
    ["a.json", '[{"id":1},,{"id":2}]', {}, /line 1 has a comma where an object must begin/],
    ["a.json", "[7,]", {}, /line 1 has a comma after the last object/],
    ["a.json", '[{"id":1}, 7]', {}, /object 2 is not a JSON object/],
    ["a.json", '[{"id":1}, {id:2}]', {}, /object 2 is not JSON/],
    ["a.json", '[{"id":"a\nb"}]', {}, /line 2 has a line end inside a string/],
    ["a.json", '{"id":1}}', {}, /a bracket that closes nothing/],
    ["a.csv.zst", zstdCompressSync("id,v\n1,a\n").subarray(0, 12), {}, /damaged, or not whole: it is cut off/],
    ["a.csv", bytesOf("PK\u0003\u0004\0\0"), {}, /it is a ZIP archive/],
    ["a.csv", bytesOf("BZh9"), {}, /packed with bzip2/],
    ["a.csv", new Uint8Array([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), {}, /packed with xz/],
    ["a.csv", bytesOf("PAR1xxxxPAR1"), {}, /as csv: it is a file of format "parquet"/],
    ["a.parquet.gz", gzipSync("PAR1"), {}, /can't be read from .*; unpack it first, with gunzip/],
    ["a.dat", "id\n1\n", {}, /its extension is \.dat; name its format/],
    ["a.csvv", "id\n1\n", {}, /did you mean \.csv\?/],
    ["rows", "id\n1\n", {}, /it has no extension; name its format/],
    ["a.dat", bytesOf("FEA1xxxx"), {}, /Feather file of version 1/],
    ["a.feather", bytesOf("FEA1xxxx"), {}, /Feather file of version 1/],
    ["a.csv.bz2", bytesOf("BZh9"), {}, /packed with bzip2; unpack it with bunzip2/],
    ["a.zip", bytesOf("PK\u0003\u0004\0\0"), {}, /it is a ZIP archive/],
    ["a.xz", new Uint8Array([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), {}, /packed with xz/],
    ["a.parquet", bytesOf("PK\u0003\u0004\0\0"), {}, /it is a ZIP archive/],
    ["a.parquet", bytesOf("ARROW1\0\0"), {}, /as parquet: it is a file of format "arrow"; use \{ format: "arrow" \}/],
    ["a.arrow", bytesOf("PAR1xxxxPAR1"), {}, /as arrow: it is a file of format "parquet"/],
    ["a.csv", "id,v\n1,a\0b\n", {}, /line 2[^]*HINT: Postgres can't store a zero character in text/],
    ["a.csv", utf16("id,v\n1,a\n").subarray(2), {}, /looks like UTF-16: use \{ encoding: "utf-16le" \}/],
  ];

pullTest("load() says what is wrong with a file's dialect, and makes no table", async (test) => {
  for (const [name, bytes, options, message] of FAULTS) {
    const error = await errorOf(loaded(test, name, bytes, options)).catch((cause) => {
      throw new Error(`${name}, expected ${message}`, { cause });
    });
    assert.match(error.message, message);
    assert.equal(await test.db.sql`SELECT to_regclass('dialect') IS NULL`.value(), true, name);
  }
});

pullTest("load() reads what records() reads, of random CSV", async (test) => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const pieces = ['"', '""', " ", ",", "\n", "a", '6"', "\\", "é", "x y"];
  const line = () => Array.from({ length: 1 + random.below(6) }, () => random.one(pieces)).join("");
  for (let round = 0; round < 40; round++) {
    const text = `v\n${Array.from({ length: 1 + random.below(4) }, line).join("\n")}\n`;
    const expected = [...records(text, usualDialect(true), true)].slice(1);
    if (expected.some((values) => values.length !== 1) || isOpen(text)) continue;
    const { rows } = await loaded(test, "random.csv", text, {
      types: { v: "text" },
      delimiter: ",",
      escape: '"',
    });
    assert.deepEqual(rows.slice(1), expected, JSON.stringify({ text, seed }));
  }
});

/** Whether the last quote is not closed, which the server refuses. */
function isOpen(text: string): boolean {
  return [...records(`${text}\n|`, usualDialect(true), true)].at(-1)!.join() !== "|";
}

pullTest(
  "load() reads the bytes of a Parquet column as text if the column of the table is text",
  async ({ db, folder }) => {
    await db.sql`SELECT convert_to('Zoë', 'UTF8') AS name, decode('00ff', 'hex') AS raw`.pull(
      `${folder}/bytes.parquet`,
    );
    await db.load("taken", `${folder}/bytes.parquet`, { create: true, types: { name: "text" } });
    assert.deepEqual({ ...await db.sql`SELECT * FROM taken`.first() }, { name: "Zoë", raw: new Uint8Array([0, 255]) });
    await db.query("DROP TABLE taken");
  },
);
