import assert from "node:assert/strict";
import { connect, type ConnectOptions, type Lakebase } from "../../mod.ts";
import { postgresMissing } from "../support/postgres.ts";
import { errorOf, queryTest, sharedPostgres } from "../support/queries.ts";
import { newSeed, randomFrom } from "../support/random.ts";
import { requires } from "../support/requirements.ts";

/** What others may have set: at the role, the database, or in PGOPTIONS. */
const STYLES: Record<string, string[]> = {
  bytea_output: ["hex", "escape"],
  DateStyle: ["ISO, MDY", "ISO, DMY", "German", "SQL, DMY", "SQL, MDY", "Postgres, DMY"],
  IntervalStyle: ["postgres", "postgres_verbose", "sql_standard", "iso_8601"],
  extra_float_digits: ["-15", "0", "1", "3"],
  standard_conforming_strings: ["on", "off"],
  client_encoding: ["UTF8", "LATIN1", "SQL_ASCII"],
  TimeZone: ["UTC", "Asia/Kathmandu", "America/St_Johns"],
};

const VALUES: Record<string, string> = {
  bytes: `decode('005c5c78ff41', 'hex')`,
  bytes_none: `decode('', 'hex')`,
  day: "DATE '2026-02-03'",
  days: "ARRAY['2026-02-03', 'infinity', '0044-03-15 BC']::date[]",
  clock: "TIMESTAMP '2026-02-03 04:05:06.789012'",
  moment: "TIMESTAMPTZ '2026-02-03 04:05:06.789012+00'",
  moments: "ARRAY['2026-02-03 04:05:06+00']::timestamptz[]",
  span: "INTERVAL '-1 year 2 months -3 days 04:05:06.7'",
  between: "daterange('2026-02-03', '2026-03-02')",
  third: "(1 / 3::float8)",
  small: "(1::float4 / 3::float4)",
  thirds: "ARRAY[1 / 3::float8]",
  word: String.raw`E'caf\u00e9 \\ \x27'`,
  document: `'{"b": 12345678901234567890, "a": 1.10}'::jsonb`,
};

const SELECT = Object.entries(VALUES).map(([name, value]) => `${value} AS ${name}`).join(", ");
const STANDARD = "-c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c extra_float_digits=1";

async function psql(url: string, zone: string): Promise<string[]> {
  const { stdout, success } = await new Deno.Command("psql", {
    args: ["-X", "-At", "-F", "\u0001", "-c", `SET TimeZone = '${zone}'`, "-c", `SELECT ${SELECT}`, url],
    env: { PGOPTIONS: `${STANDARD} -c standard_conforming_strings=on`, PGCLIENTENCODING: "UTF8" },
  }).output();
  assert.ok(success);
  return new TextDecoder().decode(stdout).split("\n")[1]!.split("\u0001");
}

const seed = newSeed();
Deno.test({
  ...requires(
    `whatever is set for a role, a database and in PGOPTIONS, values are those that psql shows [seed ${seed}]`,
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const random = randomFrom(seed);
    const { port, url } = await sharedPostgres();
    const folder = await Deno.makeTempDir();
    const place = { host: "127.0.0.1", port, database: "postgres", sslMode: "disable", connectTimeout: 10 } as const;
    const admin = await connect({ ...place, user: "postgres", password: "native-secret" });
    await admin.query(
      "CREATE ROLE styled LOGIN SUPERUSER PASSWORD 'x'; CREATE ROLE other LOGIN SUPERUSER PASSWORD 'x'",
    );
    const styled = (): string[] =>
      Object.entries(STYLES).filter(() => random.below(2) === 0).map(([name, values]) =>
        `${name} = '${random.one(values)}'`
      );
    const open = async (options: string, more: ConnectOptions = {}): Promise<Lakebase> => {
      Deno.env.set("PGOPTIONS", options);
      try {
        return await connect({ ...place, user: "styled", password: "x", max: 2, ...more });
      } finally {
        Deno.env.delete("PGOPTIONS");
      }
    };
    for (let round = 0; round < 12; round++) {
      await admin.query(
        "ALTER ROLE styled RESET ALL; ALTER DATABASE postgres RESET ALL; ALTER ROLE styled IN DATABASE postgres RESET ALL",
      );
      for (const whose of ["ROLE styled", "DATABASE postgres", "ROLE styled IN DATABASE postgres"]) {
        for (const setting of styled()) await admin.query(`ALTER ${whose} SET ${setting}`);
      }
      const options = styled().map((setting) =>
        `-c ${setting.replace(" = ", "=").replace(/'(.*)'/, "$1").replaceAll(" ", "")}`
      ).join(" ");
      await using db = await open(options, { readOnly: random.below(2) === 0, types: { timestamptz: String } });
      await using plain = await open("", { user: "other" });
      const zone = await db.query<{ z: string }>("SELECT current_setting('TimeZone') AS z").then(([row]) => row!.z);
      const expected = await psql(url, zone);
      const said = `round ${round}, ${options}`;
      if (random.below(2) === 0) await db.query("RESET ALL");
      const [row] = await db.query<Record<string, unknown>>(`SELECT ${SELECT}`);
      const texts = await db.query<Record<string, string>>(
        `SELECT ${Object.entries(VALUES).map(([name, value]) => `(${value})::text AS ${name}`).join(", ")}`,
      );
      assert.deepEqual(Object.values(texts[0]!), expected, said);
      assert.deepEqual(row!["bytes"], Uint8Array.of(0, 0x5c, 0x5c, 0x78, 0xff, 0x41), said);
      assert.deepEqual(
        [row!["day"], row!["moment"], row!["span"], row!["word"]],
        [3, 5, 7, 12].map((at) => expected[at === 3 ? 2 : at]),
        said,
      );
      assert.deepEqual([row!["third"], row!["small"]], [1 / 3, Number("0.33333334")], said);
      const moment = await plain.sql`SELECT TIMESTAMPTZ '2026-02-03 04:05:06.789Z'`.value();
      assert.deepEqual(moment, new Date("2026-02-03T04:05:06.789Z"), said);

      await plain.query(`DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT ${SELECT} LIMIT 0`);
      await plain.load("kept", db.sql`${db.sql.unsafe(`SELECT ${SELECT}`)}`);
      const file = `${folder}/${round}.csv`;
      await db.sql`${db.sql.unsafe(`SELECT ${SELECT}`)}`.pull(file);
      await plain.load("kept", file);
      const list = Object.entries(VALUES).map(([name, value]) => `bool_and(kept.${name} = ${value}) AS ${name}`).join(
        ", ",
      );
      const [same] = await plain.query(`SELECT count(*) AS n, ${list} FROM kept`);
      assert.deepEqual(Object.entries(same!).filter(([, kept]) => kept !== true && kept !== 2), [], said);

      const { data } = await db.sql`SELECT DATE '2026-02-03' AS day, 2 AS n`.plot({ x: "day", y: "n" });
      assert.equal(data.length, 1, said);
      const [profile] = await plain.profile(plain.sql`SELECT TIMESTAMPTZ '2026-02-03 04:05:06Z' AS moment`);
      assert.deepEqual(profile!.min, new Date("2026-02-03T04:05:06Z"), said);
    }
    await admin.query(
      "ALTER DATABASE postgres RESET ALL; DROP TABLE IF EXISTS kept; DROP OWNED BY other; DROP ROLE styled, other",
    );
    await admin.close();
    await Deno.remove(folder, { recursive: true });
  },
});

queryTest("a style that a statement sets is told where a value would be another one", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.query("SET DateStyle TO German");
  const moments = await errorOf(db.sql`SELECT TIMESTAMPTZ '2026-02-03 04:05:06Z' AS at`);
  assert.match(
    moments.message,
    /^Cannot read the column "at": a statement has set DateStyle to "German, \w+"; RESET DateStyle/,
  );
  assert.equal(await db.sql`SELECT DATE '2026-02-03'`.value(), "03.02.2026");
  await db.query("CREATE TEMPORARY TABLE days (day date)");
  assert.equal((await errorOf(db.load("days", db.sql`SELECT DATE '2026-02-03' AS day`))).code, "QUERY_FAILED");
  assert.deepEqual(await db.sql`SELECT decode('00ff', 'hex')`.value(), Uint8Array.of(0, 255));
  await db.query("RESET DateStyle");
  assert.deepEqual(await db.sql`SELECT TIMESTAMPTZ '2026-02-03 04:05:06Z'`.value(), new Date("2026-02-03T04:05:06Z"));
  await db.query("SET bytea_output TO escape");
  assert.deepEqual(await db.sql`SELECT decode('005c27ff41', 'hex')`.value(), Uint8Array.of(0, 0x5c, 0x27, 0xff, 0x41));
  assert.deepEqual(await db.sql`SELECT ARRAY[decode('005cff', 'hex')]`.value(), [Uint8Array.of(0, 0x5c, 0xff)]);
}, {});

queryTest("another text encoding is refused and set back", async ({ open }) => {
  const db = await open({ max: 1 });
  const error = await errorOf(db.sql`SET client_encoding TO LATIN1`);
  assert.match(error.message, /^Cannot set client_encoding to LATIN1: .*convert_to/);
  assert.equal(await db.sql`SELECT ${"café"}::text`.value(), "café");
  assert.equal(await db.sql`SHOW client_encoding`.value(), "UTF8");
});
