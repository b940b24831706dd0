import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { notebookFolder } from "../support/notebook.ts";
import { RawKernel } from "./raw_kernel.ts";

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
