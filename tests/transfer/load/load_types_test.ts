import assert from "node:assert/strict";
import type { Lakebase } from "../../../mod.ts";
import { errorOf } from "../../support/queries.ts";
import { pullTest } from "../../support/transfers.ts";

/** The type of a new table's one column, and its values as texts. */
async function created(db: Lakebase, source: string | object[]): Promise<[type: string, values: (string | null)[]]> {
  await db.load("created", source as string, { create: true });
  try {
    const { type } = (await db.describe("created"))[0]!;
    const rows = await db.query("SELECT a::text FROM created");
    return [type, rows.map((row) => row["a"] as string | null)];
  } finally {
    await db.query("DROP TABLE created");
  }
}

const WIDE = "9007199254740993";
const LONG = "0.12345678901234567890";

/** Texts of numbers, and the type of a column that has them. */
const NUMBERS: [texts: string[], type: string][] = [
  [[WIDE, "1e5"], "numeric"],
  [["1e5", LONG], "numeric"],
  [["1.234567890123456789e0"], "numeric"],
  [["1e400", "7"], "numeric"],
  [["1e5", "0.30000000000000004", "9007199254740992"], "double precision"],
  [["1.50", "1e-7"], "double precision"],
  [[WIDE, "7"], "bigint"],
];

pullTest("load() with create rounds no number, and makes no column numeric without need", async ({ db, folder }) => {
  for (const [texts, type] of NUMBERS) {
    await Deno.writeTextFile(`${folder}/a.csv`, `a\n${texts.join("\n")}\n`);
    await Deno.writeTextFile(`${folder}/a.ndjson`, texts.map((text) => `{"a": ${text}}\n`).join(""));
    for (const name of ["a.csv", "a.ndjson"]) {
      const [found, values] = await created(db, `${folder}/${name}`);
      assert.equal(found, type, `${name}: ${texts}`);
      const same = await db.sql`SELECT ${texts}::numeric[] = ${values}::numeric[]`.value();
      assert.ok(same, `${name}: ${texts} came as ${values}`);
    }
  }
  assert.deepEqual(await created(db, [{ a: 9007199254740993n }, { a: 0.5 }]), ["numeric", [WIDE, "0.5"]]);
});

pullTest("a table of numerics with NaN is loaded back unchanged from a CSV file", async ({ db, folder }) => {
  const path = `${folder}/n.csv`;
  await db.pull(db.sql`SELECT a::numeric FROM (VALUES (${LONG}), ('NaN')) AS v(a)`, path);
  assert.deepEqual(await created(db, path), ["numeric", [LONG, "NaN"]]);
  await db.pull(db.sql`SELECT a::float8 FROM (VALUES ('0.1'), ('NaN'), ('-0'), ('-Infinity')) AS v(a)`, path);
  assert.deepEqual(await created(db, path), ["double precision", ["0.1", "NaN", "-0", "-Infinity"]]);
});

pullTest("bytes of a Parquet file that are no text say so, and not that an encoding helps", async ({ db, folder }) => {
  await db.sql`SELECT decode('64ff', 'hex') AS b`.pull(`${folder}/bytes.parquet`);
  const { message } = await errorOf(
    db.load("bytes", `${folder}/bytes.parquet`, { create: true, types: { b: "text" } }),
  );
  assert.match(
    message,
    /row 1, column b: [^]*HINT: these bytes are not text in UTF-8; .*\{ types: \{ "b": "bytea" \} \}/,
  );
  assert.doesNotMatch(message, /encoding:/);
});
