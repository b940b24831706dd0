import assert from "node:assert/strict";
import { delimiter, names } from "../../src/cli/connection.ts";
import { errorText, inShell } from "../../src/cli/errors.ts";
import { LakebaseError } from "../../src/core/errors.ts";

Deno.test("inShell() says options as they are typed, and leaves everything else", () => {
  const cases: [message: string, said: string][] = [
    ['give { format: "csv" }, or { parallel: 2 }', "give --format csv, or --parallel 2"],
    ["HINT: { create: true } makes it", "HINT: --create makes it"],
    ["without one, say { header: false }", "without one, say --no-header"],
    ['say { types: { "a": "text" } }, or', "say --type a=text, or"],
    ['{ types: { "a b": "numeric(10, 2)", "it\'s": "text" } }', `--type 'a b=numeric(10, 2)' --type 'it'\\''s=text'`],
    ['{ types: { "} }": "text" } }', "--type '} }=text'"],
    ['{ format: "csv", delimiter: ";" }', "--format csv --delimiter ';'"],
    ['{ format: "csv", delimiter: "\\t" }', "--format csv --delimiter '\\t'"],
    ['{ rowGroupSize: 5, nullText: "" }', "--row-group-size 5 --null ''"],
    ['{ columns: ["id", "c,d", "e\\"f"] }', `--columns 'id,"c,d","e""f"'`],
    ["give { columns: [...] }", "give --columns NAMES"],
    ['{ mode: "replace" }', "--replace"],
    ["say connect({ local: true })", "say --local"],
    ['put a private one into "ca" (PGSSLROOTCERT)', "put a private one into --ca (PGSSLROOTCERT)"],
    ['run "databricks auth login" and name the "profile"; to', 'run "databricks auth login" and give --profile; to'],
    [
      "syntax error\nHINT: a value goes in as ${zone}, which is bound: :x means nothing here",
      "syntax error\nHINT: a value goes in as $zone, with -p zone=VALUE, which is bound: :x means nothing here",
    ],
    ['the column "host" (text)', 'the column "host" (text)'],
    [
      "Cannot pull: rowGroupSize is for parquet; the format is csv",
      "Cannot pull: --row-group-size is for parquet; the format is csv",
    ],
    ["Cannot pull: header is for csv, tsv", "Cannot pull: --no-header is for csv, tsv"],
    ['Cannot load t.csv: the option types has "idd"', 'Cannot load t.csv: --type has "idd"'],
    [
      "Cannot load: t.csv has 2 columns, and the option columns names 3",
      "Cannot load: t.csv has 2 columns, and --columns names 3",
    ],
    ['Cannot read the rows: columns has "zz"', 'Cannot read the rows: --columns has "zz"'],
    [
      'Cannot pull trips in parallel: it is a view. Leave "parallel" out',
      "Cannot pull trips in parallel: it is a view. Leave --parallel out",
    ],
    [
      'Cannot load: types is { a: "drop;" }; it must be an object of types as SQL has them, such as { zip: "text", fare: "numeric(10, 2)" }',
      "Cannot load: a --type is no type of SQL; write it as in --type zip=text --type 'fare=numeric(10, 2)'",
    ],
    ['the value { "a": 1 } and { zone: "text" }', 'the value { "a": 1 } and { zone: "text" }'],
    ["the format is what the header is", "the format is what the header is"],
    ["Cannot write columns.csv: the disk is full", "Cannot write columns.csv: the disk is full"],
  ];
  for (const [message, said] of cases) assert.equal(inShell(message), said);
});

Deno.test("errorText() translates its own words, not those of a server or of a file", () => {
  const message = 'column "a": { format: "csv" }\nHINT: say { types: { "a": "text" } }\nDETAIL: { create: true }';
  assert.equal(
    errorText(new LakebaseError("QUERY_FAILED", message), false),
    'lakebase: [QUERY_FAILED] column "a": { format: "csv" }\nHINT: say --type a=text\nDETAIL: { create: true }\n',
  );
});

Deno.test("names() reads a list of columns, with commas and quotes in double quotes", () => {
  const cases: [text: string, names: string[]][] = [
    ["id", ["id"]],
    [" id , zone ", ["id", "zone"]],
    ['"c,d",id', ["c,d", "id"]],
    ['id, "c,d" ,x', ["id", "c,d", "x"]],
    ['"say ""so"""', ['say "so"']],
    ['a"b', ['a"b']],
    ["c d,é", ["c d", "é"]],
    ['" a "', [" a "]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(names(text), expected, text);
  for (const text of ["", " ", ",", "a,,b", "a,", '"a', '"a"b', 'a,"b', '""', "a,a", 'a,"a"']) {
    assert.throws(() => names(text), /different columns, such as id,zone/, text);
  }
});

Deno.test("delimiter() takes \\t for a tab", () => {
  assert.deepEqual(["\\t", "\t", ";", "\\n", "ab"].map(delimiter), ["\t", "\t", ";", "\\n", "ab"]);
});
