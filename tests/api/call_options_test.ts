import assert from "node:assert/strict";
import type { Lakebase } from "../../mod.ts";
import { startLocal } from "../../src/local/mod.ts";
import { errorOf, queryTest } from "../support/queries.ts";

/** Calls with a misspelled option or an invalid value, and the error. */
const WRONG: [call: (db: Lakebase) => PromiseLike<unknown>, error: RegExp][] = [
  [
    (db) => db.transaction(() => 1, { readonly: true } as never),
    /begin a transaction: .*"readonly"; did you mean "readOnly"\?/,
  ],
  [(db) => db.transaction(() => 1, { readOnly: "yes" as never }), /readOnly is "yes"; it must be true or false/],
  [
    (db) => db.transaction(() => 1, { isolation: "chaos" as never }),
    /isolation is "chaos"; it must be one of read committed/,
  ],
  [(db) => db.transaction(() => 1, { timeout: 0 }), /timeout is 0; it must be a number of seconds/],
  [(db) => db.transaction(() => 1, null as never), /the options must be an object/],
  [(db) => db.sql`SELECT 1`.explain({ analyse: true } as never), /explain: .*"analyse"; did you mean "analyze"\?/],
  [(db) => db.sql`SELECT 1`.explain({ analyze: 1 as never }), /analyze is 1; it must be true or false/],
  [
    (db) => db.sql`SELECT 1`.columns({ timeuot: 1 } as never),
    /read the columns: .*"timeuot"; did you mean "timeout"\?/,
  ],
  [(db) => db.sql`SELECT 1`.columns({ limit: 1 } as never), /there is no option "limit"/],
  [async (db) => await db.sql`SELECT 1`.with({ limt: 5 } as never), /did you mean "limit"\?/],
  [
    (db) => (db.sql`SELECT 1`.browse as (options: unknown) => PromiseLike<unknown>)({ limit: 50 }),
    /browse\(\) takes no options/,
  ],
  [
    (db) => (db.check as (options: unknown) => PromiseLike<unknown>).call(db, { timeout: 5 }),
    /check\(\) takes no options/,
  ],
  [
    (db) => (db.session as (options: unknown) => PromiseLike<unknown>).call(db, { timeout: 5 }),
    /session\(\) takes no options/,
  ],
  [
    (db) => (db.query as (...args: unknown[]) => PromiseLike<unknown>).call(db, "SELECT 1", [], { timeout: 5 }),
    /Cannot run the query: query\(\) takes no options; write sql`...`\.with/,
  ],
  [
    (db) => db.transaction((tx) => (tx.query as (...args: unknown[]) => unknown)("SELECT 1", [], { timeout: 5 })),
    /query\(\) takes no options/,
  ],
  [(db) => (db.version as (options: unknown) => PromiseLike<unknown>).call(db, { timeout: 5 }), /version\(\) takes no/],
  ...(["first", "value"] as const).map((name): typeof WRONG[number] => [
    async (db) =>
      await (db.sql`SELECT 1` as unknown as Record<string, (options: unknown) => unknown>)[name]!({ limit: 5 }),
    new RegExp(`${name}\\(\\) takes no options; write query\\.with`),
  ]),
  [
    async (db) => await db.sql`${(db.sql.values as (...args: unknown[]) => never)([{ a: 1 }], ["a"])}`,
    /takes only the rows/,
  ],
  [async (db) => await db.sql`${(db.sql.unsafe as (...args: unknown[]) => never)("$1", [1])}`, /takes only a text/],
  [
    async (db) => [...(await db.sql`SELECT 1 AS a`.columns()).rows({ from: 1 } as never)],
    /a row is \{ from: 1 \}; write rows\(from, to\)/,
  ],
  [
    async (db) => await ((await db.sql`SELECT 1`).describe as (options: unknown) => unknown)({ timeout: 1 }),
    /describe\(\) takes no options/,
  ],
  [
    async (db) => await ((await db.sql`SELECT 1`.columns()).toArrow as (options: unknown) => unknown)({ types: "all" }),
    /toArrow\(\) takes no options/,
  ],
  [(db) => db.tables("*", { timout: 1 } as never), /list the tables: .*did you mean "timeout"\?/],
  [(db) => db.tables({ timeout: 1 } as never), /pattern/],
  [(db) => db.schemas({ signl: 1 } as never), /list the schemas: .*did you mean "signal"\?/],
  [(db) => db.schemas({ signal: 1 as never }), /signal is 1; it must be an AbortSignal/],
  [(db) => db.describe("pg_type", { timeouts: 1 } as never), /describe the table: .*did you mean "timeout"\?/],
  [(db) => db.profile("pg_type", { samples: 1 } as never), /make a profile: .*did you mean "sample"\?/],
  [(db) => db.profile("pg_type", { sample: 0 }), /sample is 0; it must be a whole number of rows/],
  [(db) => db.sql`SELECT 1`.plot({ colour: "a" } as never), /did you mean "color"\?/],
  [(db) => db.pull("pg_type", "never.csv", { heder: false } as never), /there is no option "heder"/],
  [(db) => db.load("none", [], { crate: true } as never), /did you mean "create"\?/],
  [(db) => db.transaction("SELECT 1" as never), /its work is "SELECT 1"; it must be a function/],
  [async (db) => (await db.sql`SELECT 1 AS a`.columns()).get(Symbol("a") as never), /its name is Symbol\(a\)/],
  [(db) => db.tables(10n as never), /the pattern is 10n; it must be like trips/],
];

queryTest(
  "every call refuses unknown options and invalid values before anything runs",
  async ({ db }) => {
    for (const [call, error] of WRONG) {
      const { code, message } = await errorOf(async () => await call(db));
      assert.equal(code, "BAD_PARAMETER", message);
      assert.match(message, error);
    }
  },
);

Deno.test("startLocal() refuses unknown options, and values of another type", async () => {
  await assert.rejects(startLocal({ datadir: "x" } as never), /there is no option "datadir"; did you mean "dataDir"\?/);
  await assert.rejects(startLocal([] as never), /the options must be an object/);
  const wrong: [options: object, error: RegExp][] = [
    [{ dataDir: "" }, /"dataDir" is empty; it must be the path of a folder/],
    [{ dataDir: 7 }, /"dataDir" is 7; it must be the path/],
    [{ postgresPort: 70_000 }, /"postgresPort" is 70000; it must be a whole number from 0 to 65535/],
    [{ volumes: "main.raw.landing" }, /"volumes" is another text; it must be a list of texts/],
    [{ warehouses: [null] }, /"warehouses" is another list; it must be a list of objects/],
    [{ passwords: { app: 7 } }, /"passwords" is of the type object; it must be an object of passwords/],
    [{ database: ["postgres://a:b@c/d"] }, /"database" is another list; it must be a text/],
    [{ lockTimeout: NaN }, /"lockTimeout" is NaN; it must be a number of 0 or more/],
  ];
  for (const [options, error] of wrong) await assert.rejects(startLocal(options), error);
});
