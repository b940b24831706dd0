import assert from "node:assert/strict";
import { editorReply, inspectSql } from "../../src/kernel/editor.ts";
import { eventually } from "../support/eventually.ts";
import { notebookFolder } from "../support/notebook.ts";
import { CATALOG } from "./catalog.ts";
import { RawKernel } from "./raw_kernel.ts";

Deno.test("code that is not SQL is left to the child", () => {
  for (const type of ["complete_request", "inspect_request", "is_complete_request", "history_request", undefined]) {
    assert.equal(editorReply(type, { code: "const a = 1", cursor_pos: 3 }, undefined), undefined, type);
    assert.equal(editorReply(type, { code: 5, cursor_pos: "a" }, undefined), undefined, type);
  }
});

Deno.test("the replies for SQL have Jupyter's form", () => {
  const reply = editorReply("complete_request", { code: "%%sql\nSELEC", cursor_pos: 11 }, undefined)!;
  assert.equal(reply.type, "complete_reply");
  const { status, matches, cursor_start, cursor_end } = reply.content;
  assert.deepEqual([status, matches, cursor_start, cursor_end], ["ok", ["SELECT"], 6, 11]);
});

Deno.test("in a console, SQL continues until a semicolon or a blank line", () => {
  const cases: [code: string, status: string][] = [
    ["%%sql", "incomplete"],
    ["%%sql\nSELECT 'it", "incomplete"],
    ["%%sql\nSELECT 1;", "complete"],
    ["%%sql\nSELECT 1\n\n", "complete"],
    ["%%sql?", "complete"],
    ["-- c\n%%sql\nSELECT", "incomplete"],
    ["// c\n/* d */ %%sql\nSELECT 1;", "complete"],
  ];
  for (const [code, status] of cases) {
    assert.equal(editorReply("is_complete_request", { code }, undefined)!.content["status"], status, code);
  }
});

/** Inspects at `|`. */
function inspect(marked: string): string | undefined {
  const [before = "", after = ""] = marked.split("|");
  return inspectSql(before + after, [...before].length, CATALOG)?.["text/plain"];
}

const TRIPS = "table public.trips\n  id    integer not null\n  zone  text\n  fare  numeric(8,2)";

const CASES: [marked: string, shown: string | undefined][] = [
  ["%%sql\nSELECT * FROM tri|ps", TRIPS],
  ["%%sql\nSELECT * FROM trips|", TRIPS],
  ["%%sql\nSELECT t|.fare FROM trips t", TRIPS],
  ["%%sql\nSELECT * FROM app.us|ers", "view app.users\n  email  text not null\n  age    integer"],
  ['%%sql\nSELECT * FROM "Odd| Name"', "partitioned table public.Odd Name\n  Id    integer\n  user  text"],
  ["%%sql\nSELECT fa|re FROM trips", "public.trips.fare numeric(8,2)"],
  ["%%sql\nSELECT t.i|d FROM trips t", "public.trips.id integer not null"],
  ['%%sql\nSELECT i|d FROM trips JOIN "order" o ON true', "public.trips.id integer not null\npublic.order.id integer"],
  ["%%sql\nWITH w AS (SELECT zone AS z FROM trips) SELECT * FROM |w", "w\n  z"],
  ["%%sql\nSELECT cou|nt(*) FROM trips", 'pg_catalog.count("any") → bigint'],
  ["%%sql\nSELECT app.fare|_of(1)", "app.fare_of(id integer) → numeric"],
  ["%%sql\nCALL my_|proc(1)", "public.my_proc(IN a integer)"],
  ["const a = %sql SELECT * FROM tr|ips", TRIPS],
  ["%%sql\nSEL|ECT 1", undefined],
  ["%%sql\nSELECT nob|ody", undefined],
  ["%%sql\nSELECT 'tri|ps'", undefined],
  ["tri|ps", undefined],
];

Deno.test("inspectSql() shows tables, columns and functions", () => {
  for (const [marked, shown] of CASES) assert.equal(inspect(marked), shown, marked);
});

Deno.test("the kernel completes and explains SQL with the names of the connected database, and still TypeScript", async () => {
  await using folder = await notebookFolder();
  await using kernel = await RawKernel.start({ cwd: folder.path, env: { LAKEBASE_LOCAL: "1", NO_COLOR: "1" } });
  using frontend = await kernel.frontend();
  const complete = async (marked: string) => {
    const [before = "", after = ""] = marked.split("|");
    const content = { code: before + after, cursor_pos: [...before].length };
    return (await frontend.request("shell", "complete_request", content))["matches"] as string[];
  };
  /** The catalog arrives in the background. */
  const completeAtLast = async (marked: string, match: string) => {
    await eventually(`${marked} is completed to ${match}`, async () => (await complete(marked)).includes(match));
  };
  assert.deepEqual(await complete("%%sql\nSEL|"), ["SELECT"]);
  await frontend.execute("import { sql } from 'lakebase';\nconst zones = ['Harlem'];");
  await frontend.execute("await sql`CREATE TABLE rides (id int, fare numeric)`");
  await completeAtLast("%%sql\nSELECT * FROM ri|", "rides");
  assert.deepEqual(await complete("%%sql\nSELECT r.| FROM rides r"), ["id", "fare"]);
  await frontend.execute("%%sql\nALTER TABLE rides ADD COLUMN zone text");
  await completeAtLast("%%sql\nSELECT r.| FROM rides r", "zone");
  await completeAtLast("%%sql\nSELECT generate_ser|", "generate_series");
  await frontend.execute("await sql`CREATE TABLE rivers AS SELECT 1 AS length`");
  await completeAtLast("%%sql\nSELECT * FROM ri|", "rivers");
  // The cell takes longer than the pause after which the catalog is read, which must not happen before its COMMIT.
  await frontend.execute(
    "import { connect } from 'lakebase';\nconst db = await connect({ local: true });\n" +
      "await db.transaction(async (tx) => {\n  await tx.sql`CREATE PROCEDURE ring() LANGUAGE sql AS 'SELECT 1'`;\n" +
      "  await new Promise((resolve) => setTimeout(resolve, 600));\n})",
  );
  await completeAtLast("%%sql\nCALL r|", "ring");
  assert.deepEqual((await complete("%%sql d|"))[0], "db");
  assert.ok((await complete("%%sql\nSELECT ${zones.le|}")).includes("length"));
  assert.ok((await complete("zones.le|")).includes("length"));
  const code = "%%sql\nSELECT * FROM rides";
  const inspected = await frontend.request("shell", "inspect_request", {
    code,
    cursor_pos: code.length,
    detail_level: 0,
  });
  assert.deepEqual(inspected["data"], {
    "text/plain": "table public.rides\n  id    integer\n  fare  numeric\n  zone  text",
  });
});
