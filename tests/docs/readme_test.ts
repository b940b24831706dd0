import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { OPTION_NAMES } from "../../src/settings/options.ts";
import { LOAD_FORMATS } from "../../src/transfer/formats/file_format.ts";
import { codeBlocks, codeIn, readDocument, tableUnder } from "./markdown.ts";
import { ROOT } from "./support.ts";

const README = await readDocument("README.md");

Deno.test("README.md has a row for each error code, and no other", async () => {
  const source = await Deno.readTextFile(`${ROOT}src/core/errors.ts`);
  const union = source.slice(0, source.indexOf("/** What a {@linkcode LakebaseError} knows"));
  const codes = [...union.matchAll(/^ {2}\| "(\w+)"/gm)].map(([, code]) => code!);
  assert.ok(codes.length > 20);
  const listed = tableUnder(README, "Error codes").flatMap(([code]) => codeIn(code!));
  assert.deepEqual(listed.toSorted(), codes.toSorted());
});

Deno.test("README.md has a row for each option of connect(), and no other", () => {
  const listed = tableUnder(README, "Settings").map(([option]) => codeIn(option!)[0]);
  assert.deepEqual(listed.toSorted(), [...OPTION_NAMES].toSorted());
});

Deno.test("README.md names each format", () => {
  const listed = tableUnder(README, "Formats").map(([file]) => codeIn(file!)[0]!.slice(1));
  assert.deepEqual(listed.toSorted(), LOAD_FORMATS.toSorted());
});

/** A value of each type in the table. */
const SAMPLES: Readonly<Record<string, string>> = {
  bool: "true",
  int2: "1::int2",
  int4: "1",
  int8: "1::int8",
  oid: "1::oid",
  float4: "1::float4",
  float8: "1::float8",
  "numeric(p, s)": "1::numeric(8, 2)",
  numeric: "1::numeric",
  "text, varchar, char": "''::varchar",
  date: "current_date",
  time: "localtime",
  timestamp: "localtimestamp",
  timestamptz: "now()",
  uuid: "gen_random_uuid()",
  "json, jsonb": "'{}'::jsonb",
  bytea: "''::bytea",
  arrays: "ARRAY[1]",
  "all others: interval, ...": "'1 day'::interval",
};

Deno.test("README.md says of each type what it becomes", async () => {
  await using db = await connect({ local: true });
  for (const [postgres, row, columns, arrow] of tableUnder(README, "Types")) {
    const sample = db.sql.unsafe(SAMPLES[postgres!] ?? assert.fail(`no sample of ${postgres}`));
    const query = db.sql`SELECT ${sample} AS value`;
    const value = await query.value() as object;
    const kind = row === "parsed" ? "Object" : codeIn(row!)[0]!;
    assert.equal(value.constructor.name.toLowerCase(), kind.toLowerCase(), postgres);
    const read = await query.columns();
    const column = read.get("value");
    const [kept] = codeIn(columns!);
    if (kept === "elements") assert.notEqual(column.elements, undefined);
    else assert.equal(column.values.constructor.name, kept, postgres);
    const type = String((await read.toArrow()).schema.fields[0]!.type);
    const expected = { UUID: "FixedSizeBinary", "Time, µs": "Time64<MICROSECOND" }[arrow!] ?? arrow!.split(/[,;]/)[0]!;
    assert.ok(type.startsWith(expected), `${postgres} is ${type}`);
  }
});

Deno.test("what the documents link to is there", async () => {
  for (const name of ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]) {
    const text = await readDocument(name);
    const anchors = [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title!.toLowerCase().replace(/[^\w -]/g, "").replaceAll(" ", "-")
    );
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https:/.test(link!)) continue;
      if (link!.startsWith("#")) assert.ok(anchors.includes(link!.slice(1)), `${name}: ${link}`);
      else await Deno.stat(ROOT + link);
    }
  }
});

Deno.test("each picture of docs is in README.md", async () => {
  for await (const { name } of Deno.readDir(`${ROOT}docs`)) assert.ok(README.includes(`docs/${name}`), name);
});

Deno.test("each block of code in README.md says in what it is written, and why where it is not run", () => {
  const lines = README.split("\n");
  for (const { language, rest, line } of codeBlocks(README)) {
    assert.equal(rest === "ignore", lines[line - 3]!.startsWith("<!-- not run: "), `line ${line}`);
    assert.match(`${language} ${rest}`.trim(), /^(sh|ts|sql)( ignore)?$/, `line ${line}`);
  }
});
