import assert from "node:assert/strict";
import { check, connect, type Lakebase } from "../../mod.ts";
import { SESSION } from "../../src/api/lakebase.ts";
import { makeSql } from "../../src/api/sql.ts";
import { findCatalog } from "../../src/cells/completion_catalog.ts";
import { startLocal } from "../../src/local/mod.ts";
import type { LakebasePool } from "../../src/net/pool.ts";
import { NotebookSession } from "../../src/sql/notebook_session.ts";
import { poolSession } from "../../src/sql/session.ts";
import { parserSource } from "../../src/sql/types.ts";
import { temporaryFolder } from "../support/files.ts";
import { optionsOf } from "../support/lakebase.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { drawn, errorOf } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { unqualified } from "./sql_names.ts";

/** Marks the beginning of each entry of the server's log, and its user. */
const MARK = "\u0001";

/** Every object that the module's own statements could find in a schema before `pg_catalog`. Each fails when it is used. */
const HOSTILE = `
CREATE SCHEMA evil;
CREATE FUNCTION evil.boom() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
DO $do$
DECLARE f record; body text := $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
BEGIN
  FOR f IN SELECT proname, pg_get_function_identity_arguments(oid) AS args, pg_get_function_result(oid) AS result
    FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a', 'w')
    AND NOT (proname = 'count' AND pronargs = 0) ORDER BY oid
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.args, f.result, body);
    EXCEPTION WHEN OTHERS THEN NULL; -- what only C can be
    END;
  END LOOP;
  FOR f IN SELECT o.oprname AS name, o.oprleft, o.oprright, o.oprresult FROM pg_operator AS o
    WHERE oprnamespace = 'pg_catalog'::regnamespace ORDER BY oid
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.op%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', md5(f::text),
        concat_ws(', ', nullif(f.oprleft, 0)::regtype, nullif(f.oprright, 0)::regtype), f.oprresult::regtype, body);
      EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op%s%s%s)', f.name, md5(f::text),
        ', LEFTARG = ' || nullif(f.oprleft, 0)::regtype, ', RIGHTARG = ' || nullif(f.oprright, 0)::regtype);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  FOR f IN SELECT typname FROM pg_type
    WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typcategory <> 'A'
  LOOP
    EXECUTE format('CREATE TYPE evil.%I AS ENUM (%L)', f.typname, 'hijacked');
  END LOOP;
  FOR f IN SELECT relname FROM pg_class
    WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND relname LIKE 'pg%'
  LOOP
    EXECUTE format('CREATE VIEW evil.%I AS SELECT evil.boom() AS oid', f.relname);
  END LOOP;
END $do$;
CREATE AGGREGATE evil.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '666');
CREATE FUNCTION evil.format(text, name, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION evil.json_build_object(text, name, text, text) RETURNS json LANGUAGE plpgsql
  AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE TYPE evil.mood AS ENUM ('fine', 'bad');
CREATE FUNCTION evil.mood_text(evil.mood) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE CAST (evil.mood AS text) WITH FUNCTION evil.mood_text(evil.mood);
CREATE TABLE public.rides AS SELECT n AS id, n * 1.5 AS fare, timestamptz '2026-05-01' AS at, date '2026-05-01' AS day, n % 3 = 0 AS paid,
  'zone ' || n % 4 AS zone, CASE WHEN n % 5 > 0 THEN 'fine'::evil.mood END AS mood, ARRAY['bad'::evil.mood] AS moods,
  '{"a": 1}'::jsonb AS doc, '10.0.0.1/8'::inet AS address FROM generate_series(1, 20000) AS n;
CREATE TABLE public.stations (id int PRIMARY KEY, zone text DEFAULT upper('x'), twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE public.stops (station int REFERENCES public.stations, place date NOT NULL CHECK (place > '2000-01-01'))
  PARTITION BY RANGE (place);
CREATE TABLE public.stops_2026 PARTITION OF public.stops FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO public.stations VALUES (1, 'a');
INSERT INTO public.stops VALUES (1, '2026-05-01');
ANALYZE;
`;

const PATH = "SET search_path = evil, pg_catalog, public";
const PERSON = `CREATE ROLE person LOGIN SUPERUSER; ALTER ROLE person ${PATH};`;

/** Every action of the module that runs its own SQL. The person's SQL qualifies its names. */
const USES: Record<string, (db: Lakebase, folder: string, twin: Lakebase) => PromiseLike<unknown>> = {
  version: (db) => db.version(),
  tables: async (db) => assert.equal((await db.tables("public.*")).length, 3),
  "tables of all schemas": (db) => db.tables(),
  schemas: async (db) => assert.deepEqual((await db.schemas()).map(({ name }) => name), ["evil", "public"]),
  describe: async (db) => {
    assert.deepEqual((await db.describe("public.stations")).map(({ key }) => key), ["primary", null, null]);
    assert.equal((await db.describe("public.stops")).kind, "partitioned table");
    await db.describe("rides");
  },
  "a table's profile": async (db) => {
    const profile = await db.profile("public.rides");
    assert.equal(profile.rows, 20_000);
    const mood = profile.find(({ column }) => column === "mood");
    assert.deepEqual(mood?.top, [{ value: "fine", count: 16_000 }]);
  },
  "a sampled profile": (db) => db.profile("public.rides", { sample: 1000 }),
  "a query's profile": (db) => db.profile(db.sql`SELECT * FROM public.rides`),
  "a difference of rows": async (db, _, twin) => {
    for (const table of ["public.stations", "public.rides", "public.stops"]) {
      const { added, removed, changed } = await db.diff(twin, table);
      assert.deepEqual([added, removed, changed], [0, 0, 0], table);
    }
    await twin.query("UPDATE public.stations SET zone = 'other'");
    assert.deepEqual((await db.diff(twin, "public.stations")).map(({ columns }) => columns), [["zone"]]);
    await twin.query("UPDATE public.rides SET fare = id");
    assert.equal((await db.diff(twin, "public.rides")).added, 20_000);
  },
  "a difference of schemas": async (db, _, twin) => assert.deepEqual([...await db.diff(twin)], []),
  "a drawn query": async (db) => {
    assert.match(await drawn(db.sql`SELECT mood, moods, doc FROM public.rides`), /fine/);
    await drawn(db.sql`SELECT * FROM public.stations`);
  },
  "an object as a value": (db) => db.sql`SELECT ${{ a: 1 }}`,
  "a cursor": async (db) => {
    for await (const row of db.sql`SELECT id FROM public.rides`) if (row !== undefined) break;
  },
  columns: (db) => db.sql`SELECT * FROM public.rides`.columns(),
  "the columns of a writing query": (db) => db.sql`UPDATE public.stations SET zone = 'b' RETURNING *`.columns(),
  explain: (db) => db.sql`SELECT * FROM public.rides`.explain(),
  "a notebook's session": async (db) => {
    const pool = db.pool as LakebasePool;
    const session = new NotebookSession(poolSession(pool, parserSource()), pool);
    const sql = makeSql(() => session);
    await sql`SET app.tenant = 'a'`;
    await Promise.all([sql`SELECT FROM public.stations`, sql`SELECT FROM public.stations`]);
    await session.close();
  },
  "a transaction": (db) =>
    db.transaction((tx) => tx.sql`SELECT 1`, { isolation: "serializable", readOnly: true, timeout: 60 }),
  "a guess at a table": async (db) => {
    assert.match(
      (await errorOf(() => db.sql`SELECT * FROM public.ride`)).message,
      /Did you mean public\.rides\?|rides/,
    );
    assert.match((await errorOf(() => db.describe("stationz"))).message, /Did you mean stations/);
  },
  "a guess at a column": async (db) =>
    assert.match((await errorOf(() => db.sql`SELECT zonne FROM public.rides`)).message, /zone/),
  "the kernel's completion": async (db) => assert.ok((await findCatalog(db[SESSION], true))!.tables.length > 100),
  ...Object.fromEntries((["csv", "csv.gz", "ndjson", "arrow", "parquet", "tsv"] as const).flatMap((ending) =>
    [
      [`pull a table to ${ending}`, (db: Lakebase, folder: string) => db.pull("public.rides", `${folder}/t.${ending}`)],
      [
        `pull a query to ${ending}`,
        (db: Lakebase, folder: string) =>
          db.sql`SELECT id, mood, address FROM public.rides LIMIT ${10}`.pull(`${folder}/q.${ending}`),
      ],
      ...ending === "tsv" ? [] : [
        [
          `load ${ending}`,
          async (db: Lakebase, folder: string) => {
            await Deno.writeTextFile(
              `${folder}/in.ndjson`,
              '{"a":"x","b":1,"c":"2026-01-02","d":{"e":[1]},"f":["y"]}\n',
            );
            await db.load("public.made", `${folder}/in.ndjson`, { create: true });
            await db.load("public.made", `${folder}/in.ndjson`);
            await db.query("DROP TABLE public.made");
            const table = `loaded_${ending.replaceAll(".", "_")}`;
            await db.query(`DROP TABLE IF EXISTS public.${table}`);
            await db.load(`public.${table}`, `${folder}/t.${ending}`, { create: true });
          },
        ] as const,
      ],
    ] as [string, (db: Lakebase, folder: string) => PromiseLike<unknown>][]
  )),
  "pull in parallel": (db, folder) => db.pull("public.rides", `${folder}/p.arrow`, { parallel: 2 }),
  "pull a partitioned table": (db, folder) => db.pull("public.stops", `${folder}/s.parquet`, { parallel: 2 }),
  "pull with a backslash": (db, folder) => db.sql`SELECT ${1} AS a, '\\''; --' AS b`.pull(`${folder}/b.csv`),
  "pull with values of each kind": (db, folder) =>
    db.sql`SELECT ${{ a: 1 }}, ${["x"]}::pg_catalog.text[], ${new Date(0)}::pg_catalog.timestamptz`.pull(
      `${folder}/v.csv`,
    ),
  "load rows": (db) => db.load("public.stations", [{ id: 7, zone: "z" }, { id: 8, zone: null }]),
  "load a query": (db) =>
    db.load("public.copied", db.sql`SELECT id, zone, mood, doc FROM public.rides`, { create: true }),
  ...Object.fromEntries(
    ([
      { mark: "bar", x: "zone", y: "avg(fare)" },
      { mark: "bar", x: "mood" },
      { mark: "bar", x: "mood", y: "max(fare)", color: "paid" },
      { mark: "line", x: "at", y: "sum(fare)", color: "mood" },
      { mark: "area", x: "day", y: "stddev(fare)" },
      { mark: "point", x: "id", y: "fare", color: "mood" },
      { mark: "histogram", x: "fare" },
      { mark: "histogram", x: "at" },
      { mark: "box", x: "mood", y: "fare" },
      { mark: "heatmap", x: "mood", y: "at", color: "median(fare)" },
      { mark: "bar", x: "id", y: "count()", color: "id" },
      { mark: "bar", x: "at", y: "fare", facet: "zone" },
    ] as const).map((options) => [
      `plot ${JSON.stringify(options)}`,
      (db: Lakebase) => db.sql`SELECT * FROM public.rides`.plot(options),
    ]),
  ),
};

Deno.test({
  ...requires("(slow) no code of a hostile schema on the search path runs", postgresMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const settings = { log_line_prefix: `${MARK}%u:`, log_min_error_statement: "panic" };
    await using server = await startPostgres({ maxConnections: 30, settings });
    const login = { host: "127.0.0.1", port: server.port, database: "postgres", sslMode: "disable" } as const;
    {
      await using owner = await connect({ ...login, user: "postgres", password: "none" });
      await owner.pool.query(HOSTILE + PERSON);
      await owner.pool.query("ALTER SYSTEM SET log_statement = 'all'");
      await owner.pool.query("SELECT pg_reload_conf()");
    }
    {
      await using owner = await connect({ ...login, database: "template1", user: "postgres", password: "none" });
      await owner.query("CREATE DATABASE twin TEMPLATE postgres");
    }
    {
      await using db = await connect({ ...login, user: "person", password: "none" });
      await using twin = await connect({ ...login, database: "twin", user: "person", password: "none" });
      await useAll(db, twin);
    }
    await check({ ...login, user: "person", password: "none" });
    const statements = new Set(
      (await server.log()).split(MARK).filter((entry) => entry.startsWith("person:"))
        .map((entry) => /^person:LOG: {2}(?:statement|execute [^:]*): (.*)$/s.exec(entry.replaceAll("\n\t", "\n"))?.[1])
        .filter((text) => text?.trim() && !/upper\('x'\)|^SELECT \$1$/.test(text)) as string[],
    );
    assert.ok(statements.size > 80, `${statements.size} statements`);
    const loose = [...statements].flatMap((text) => unqualified(text).map((what) => `${what}: ${text.slice(0, 300)}`));
    assert.deepEqual(loose, []);
  },
});

Deno.test({
  name: "(slow) no code of a hostile schema on the search path runs in the embedded database either",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using local = await startLocal();
    await using db = await connect({ ...optionsOf(local), idleTimeout: 600, connectTimeout: 60 });
    await db.pool.query(HOSTILE);
    await using twin = await db.branch(); // making the hostile schema again would take longer
    for (const each of [db, twin]) onHostilePath(each);
    await useAll(db, twin, /parallel|partitioned/); // for these it has no second connection
  },
});

/** Makes each session of a connection begin with the hostile schema on its path. */
function onHostilePath(db: Lakebase): void {
  const changed = new WeakSet<object>();
  db.pool.on("acquire", (client) => {
    if (!changed.has(client)) void client.query(PATH); // runs before the statement that the connection is for
    changed.add(client);
  });
}

/** Makes all calls except those that `skipped` matches, on a connection whose `search_path` begins with the hostile schema. */
async function useAll(db: Lakebase, twin: Lakebase, skipped = /^$/): Promise<void> {
  await using folder = await temporaryFolder();
  const hijacked = await errorOf(() => db.sql`SELECT upper('x')`);
  assert.match(hijacked.message, /hijacked/, "the schema is hostile");
  const failed: string[] = [];
  for (const [name, use] of Object.entries(USES)) {
    if (skipped.test(name)) continue;
    await use(db, folder.path, twin).then(undefined, (error: Error) => failed.push(`${name}: ${error.message}`));
  }
  assert.deepEqual(failed, []);
}
