import assert from "node:assert/strict";
import { errorOf } from "../support/queries.ts";
import { pullTest } from "../support/transfers.ts";

const TEXT_FORMATS = ["csv", "tsv", "ndjson"];
const FORMATS = [...TEXT_FORMATS, "arrow", "parquet"];

pullTest("a table without columns is loaded back, but into no other table", async ({ db, folder }) => {
  await db.query(`CREATE TABLE bare (); INSERT INTO bare SELECT FROM generate_series(1, 3); CREATE TABLE bare_again ();
    CREATE TABLE dressed (note text)`);
  try {
    for (const format of [...TEXT_FORMATS, "arrow"]) {
      const path = `${folder}/bare.${format}`;
      await db.pull("bare", path);
      assert.equal((await db.load("bare_again", path, { mode: "replace" })).rows, 3, format);
      assert.equal(await db.sql`SELECT count(*) FROM bare_again`.value(), 3, format);
      for (const [table, options] of [["dressed", {}], ["bare_new", { create: true }]] as const) {
        const { code, message } = await errorOf(db.load(table, path, options));
        assert.equal(code, "BAD_FILE", message);
        assert.match(message, /no columns|no column of|first line|no row of/);
      }
      assert.equal(await db.sql`SELECT count(*) FROM dressed`.value(), 0, format);
    }
  } finally {
    await db.query("DROP TABLE bare, bare_again, dressed");
  }
});

pullTest(
  "(slow) composites are loaded back from every format except NDJSON, whose error says what to do",
  async ({ db, folder }) => {
    await db.query(`CREATE TYPE place AS (x int, name text);
    CREATE TABLE places AS SELECT ROW(1, 'a,b')::place AS one, ARRAY[ROW(2, NULL)::place] AS more, '1 2'::int2vector AS v;
    CREATE TABLE places_again (LIKE places)`);
    try {
      for (const format of FORMATS) {
        for (const column of ["one", "more", "v"]) {
          const path = `${folder}/${column}.${format}`;
          await db.pull("places", path, { columns: [column] });
          const load = () => db.load("places_again", path, { mode: "replace" });
          if (format === "ndjson" && column !== "v") {
            const { message } = await errorOf(load);
            assert.match(
              message,
              /line 1, column \w+: [^]*HINT: Postgres can't read the type \S+ from JSON; load CSV/,
            );
            continue;
          }
          await load();
          const query = db.sql`SELECT p::text FROM (SELECT ${db.sql.id(column)} FROM places_again) AS p
          EXCEPT SELECT p::text FROM (SELECT ${db.sql.id(column)} FROM places) AS p`;
          assert.deepEqual([...await query], [], `${column} in ${format}`);
        }
      }
    } finally {
      await db.query("DROP TABLE places, places_again; DROP TYPE place");
    }
  },
);

pullTest("a text for a json column must be JSON, and null is NULL", async ({ db, folder }) => {
  await db.query("CREATE TABLE documents (id int, doc jsonb)");
  try {
    const docs = ['"Harlem"', "null", null, ["a"], { a: 1 }, 7];
    await db.load("documents", docs.map((doc, id) => ({ id, doc })));
    const texts = async () => (await db.query("SELECT doc::text FROM documents ORDER BY id")).map((row) => row["doc"]);
    assert.deepEqual(await texts(), ['"Harlem"', "null", null, '["a"]', '{"a": 1}', "7"]);
    const query = db.sql`SELECT * FROM documents`;
    await db.load("documents", await query, { mode: "replace" });
    assert.deepEqual(await texts(), ['"Harlem"', null, null, '["a"]', '{"a": 1}', "7"]); // a result does not tell the null of JSON from NULL
    await db.load("documents", docs.map((doc, id) => ({ id, doc })), { mode: "replace" });
    await db.load("documents", query, { mode: "replace" });
    assert.deepEqual(await texts(), ['"Harlem"', "null", null, '["a"]', '{"a": 1}', "7"]);
    await db.pull("documents", `${folder}/documents.ndjson`);
    await db.load("documents", `${folder}/documents.ndjson`, { mode: "replace" });
    assert.deepEqual(await texts(), ['"Harlem"', null, null, '["a"]', '{"a": 1}', "7"]);
  } finally {
    await db.query("DROP TABLE documents");
  }
});

pullTest("vectors and hstore are loaded back from NDJSON", async ({ db, folder }) => {
  const isThere = await db.sql`SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'`.value();
  const hstore = isThere === 1 ? `'a=>1, "b \\"c\\\\"=>NULL, null=>"NULL", e=>""'::hstore` : "1";
  await db.query("DROP TABLE IF EXISTS maps, maps_again");
  if (isThere === 1) await db.query("CREATE EXTENSION IF NOT EXISTS hstore");
  await db.query(`CREATE TABLE maps AS SELECT 1 AS id, '1 -2'::int2vector AS two, ''::int2vector AS none,
    '1 4294967295'::oidvector AS oids, ${hstore} AS map; CREATE TABLE maps_again (LIKE maps)`);
  try {
    await db.pull("maps", `${folder}/maps.ndjson`);
    await db.load("maps_again", `${folder}/maps.ndjson`);
    await db.load("maps_again", [{ id: 2, two: [1, -2], oids: [7] }]);
    const text = (table: string, id: number) => db.query(`SELECT t::text FROM ${table} AS t WHERE id = ${id}`);
    assert.deepEqual([...await text("maps_again", 1)], [...await text("maps", 1)]);
    assert.deepEqual([...await text("maps_again", 2)], [{ t: '(2,"1 -2",,7,)' }]);
  } finally {
    await db.query("DROP TABLE maps, maps_again");
  }
});
