import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { OPTION_NAMES } from "../../src/settings/options.ts";
import { LOAD_FORMATS } from "../../src/transfer/formats/file_format.ts";
import { codeBlocks, codeIn, readDocument, runDocuments, tableUnder } from "./markdown.ts";
import { ROOT } from "../support/files.ts";

Deno.test("docs/errors.md has a row for each error code, and no other", async () => {
  const source = await Deno.readTextFile(`${ROOT}src/core/errors.ts`);
  const union = source.slice(0, source.indexOf("/** What a {@linkcode LakebaseError} knows"));
  const codes = [...union.matchAll(/^ {2}\| "(\w+)"/gm)].map(([, code]) => code!);
  assert.ok(codes.length > 20);
  const listed = tableUnder(await readDocument("docs/errors.md"), "Error codes").flatMap(([code]) => codeIn(code!));
  assert.deepEqual(listed.toSorted(), codes.toSorted());
});

Deno.test("docs/settings.md has a row for each option of connect(), and no other", async () => {
  const listed = tableUnder(await readDocument("docs/settings.md"), "Settings").map(([option]) => codeIn(option!)[0]);
  assert.deepEqual(listed.toSorted(), [...OPTION_NAMES].toSorted());
});

Deno.test("docs/formats.md names each format", async () => {
  const listed = tableUnder(await readDocument("docs/formats.md"), "Formats").map(([file]) =>
    codeIn(file!)[0]!.slice(1)
  );
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

Deno.test("docs/types.md states the result of each type", async () => {
  await using db = await connect({ local: true });
  for (const [postgres, row, columns, arrow] of tableUnder(await readDocument("docs/types.md"), "Types")) {
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

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(text: string): string[] {
  const prose = text.replace(/^```[^]*?^```$/gm, "");
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title!.toLowerCase().replace(/[^\w -]/g, "").replaceAll(" ", "-")
  );
}

/** The links of a document that do not lead to the web. */
function links(text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!).filter((link) => !/^https:/.test(link));
}

const DOCUMENTS = await runDocuments();
const LINKING = [...DOCUMENTS, "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

Deno.test("all links of the documents lead to existing files and headings", async () => {
  for (const name of LINKING) {
    for (const link of links(await readDocument(name))) {
      const target = new URL(link, new URL(name, "file:///"));
      const path = decodeURIComponent(target.pathname).slice(1);
      await Deno.stat(ROOT + path).catch(() => assert.fail(`${name}: ${link}`));
      if (target.hash === "") continue;
      assert.ok(anchors(await readDocument(path)).includes(target.hash.slice(1)), `${name}: ${link}`);
    }
  }
});

Deno.test("each page and picture of docs is linked in a document, and each page is in the list of pages", async () => {
  const texts = await Promise.all(DOCUMENTS.map(readDocument));
  const listed = links(await readDocument("docs/README.md"));
  for await (const { name } of Deno.readDir(`${ROOT}docs`)) {
    if (name === "README.md") continue;
    if (name.endsWith(".md")) assert.ok(listed.includes(name), name);
    else assert.ok(texts.some((text) => text.includes(`${name})`)), name);
  }
});

Deno.test("README.md stays short", async () => {
  assert.ok((await readDocument("README.md")).split("\n").length <= 251);
});

Deno.test("each block of code names its language, and gives a reason if it is not run", async () => {
  for (const name of DOCUMENTS) {
    const text = await readDocument(name);
    const lines = text.split("\n");
    for (const { language, rest, line } of codeBlocks(text)) {
      assert.equal(rest === "ignore", lines[line - 3]!.startsWith("<!-- not run: "), `${name}, line ${line}`);
      assert.match(`${language} ${rest}`.trim(), /^(sh|ts|sql)( ignore)?$/, `${name}, line ${line}`);
    }
  }
});

/** A command in docs/measurements.md. */
const COMMAND = /`((?:time |[A-Z_]+=\S+ )*deno (?:run|test|task|bench) [^`]+|bench\/\w+\.ts)`/;

Deno.test("docs/measurements.md names for each figure in a table a command that makes it", async () => {
  const text = await readDocument("docs/measurements.md");
  const blocks = text.split("\n\n");
  for (const [at, block] of blocks.entries()) {
    if (!block.startsWith("|")) continue;
    const [head, , ...rows] = block.split("\n");
    const each = /\| command +\|$/.test(head!);
    const makers = each ? rows.map((row) => row.split("|").at(-2)!) : [blocks[at - 1]!];
    for (const [row, maker] of makers.entries()) assert.match(maker, COMMAND, each ? rows[row] : head);
  }
  const commands = [...text.matchAll(new RegExp(COMMAND, "g"))].map(([, command]) => command!);
  const { tasks } = JSON.parse(await readDocument("deno.json"));
  for (const command of commands) {
    for (const [path] of command.matchAll(/\b(bench|tests)\/\S+/g)) await Deno.stat(ROOT + path);
    const [, task] = /^(?:time )?deno task (\S+)/.exec(command) ?? [];
    if (task !== undefined) assert.ok(task in tasks, command);
  }
});
