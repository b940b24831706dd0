import assert from "node:assert/strict";
import { connect, type ConnectOptions, Lakebase } from "../../mod.ts";
import { leaseLocal } from "../../src/api/local_server.ts";
import { openParts } from "../../src/api/open_connection.ts";
import { readSettings } from "../../src/settings/read_settings.ts";
import { startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "../support/lakebase.ts";
import { postgresMissing, psqlMissing } from "../support/postgres.ts";
import { drawn, errorOf, queryTest, sharedPostgres } from "../support/queries.ts";
import { newSeed, type Random, randomFrom } from "../support/random.ts";
import { requires } from "../support/requirements.ts";

/**
 * Settings that others may have made: for the role, the database, the role in the database, in PGOPTIONS, or by a
 * statement.
 */
const SETTINGS: Record<string, string[]> = {
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
  bytes_list: `ARRAY[decode('005cff', 'hex'), NULL]`,
  day: "DATE '2026-02-03'",
  typed_day: "'02/03/2026'::date", // the settings tell which is the month
  days: "ARRAY['2026-02-03', NULL, '0044-03-15 BC']::date[]",
  clock: "TIMESTAMP '2026-02-03 04:05:06.789012'",
  moment: "TIMESTAMPTZ '2026-02-03 04:05:06.789012+00'",
  moments: "ARRAY['2026-02-03 04:05:06+00']::timestamptz[]",
  span: "INTERVAL '-1 year 2 months -3 days 04:05:06.7'",
  typed_span: "'-1 day 2 hours'::interval", // sql_standard reads the sign for both
  spans: "ARRAY[INTERVAL '1 day', INTERVAL '-1 month']",
  between: "daterange('2026-02-03', '2026-03-02')",
  third: "(1 / 3::float8)",
  small: "(1::float4 / 3::float4)",
  thirds: "ARRAY[1 / 3::float8]",
  word: String.raw`E'caf\u00e9 \\ \x27'`,
  typed_word: String.raw`'a\\b'`, // one backslash or two
  document: `'{"b": 12345678901234567890, "a": 1.10}'::jsonb`,
};
const NAMES = Object.keys(VALUES);

const SELECT = `SELECT ${Object.entries(VALUES).map(([name, value]) => `${value} AS ${name}`).join(", ")}`;
const TEXTS = `SELECT ${Object.entries(VALUES).map(([name, value]) => `(${value})::text AS ${name}`).join(", ")}`;

/** The formats that a login sets. The order of day and month, the zone and the strings stay unchanged. */
const LOGIN =
  "SET DateStyle TO ISO; SET IntervalStyle TO postgres; SET bytea_output TO hex; SET extra_float_digits TO 1";

/** The output of psql with the same settings. psql has also written the row into the table `truth`. */
interface Answer {
  texts: Record<string, string>;
  csv: string;
  tsv: string;
}

async function askPsql(server: Record<string, string>, options: string, statements: string[]): Promise<Answer> {
  const copy = (format: string) => `COPY (${SELECT}) TO STDOUT (${format})`;
  const made = `DROP TABLE IF EXISTS truth; CREATE TABLE truth AS ${SELECT}; GRANT ALL ON truth TO PUBLIC`;
  const separate = String.raw`\echo ----`;
  const commands = [LOGIN, ...statements, made, TEXTS, separate, copy("FORMAT csv, HEADER"), separate, copy("HEADER")];
  const { stdout, stderr, success } = await new Deno.Command("psql", {
    args: [
      ...["-X", "-q", "-At", "-F", "\u0001", "-v", "ON_ERROR_STOP=1"],
      ...commands.flatMap((command) => ["-c", command]),
    ],
    env: {
      PGOPTIONS: `${options} -c client_min_messages=warning`,
      PGCLIENTENCODING: "UTF8",
      ...server,
      PGUSER: "styled",
      PGPASSWORD: "x",
    },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const [texts, csv, tsv] = new TextDecoder().decode(stdout).split("----\n");
  const values = texts!.trimEnd().split("\u0001");
  return { texts: Object.fromEntries(NAMES.map((name, index) => [name, values[index]!])), csv: csv!, tsv: tsv! };
}

/** The reference for a use of the row. */
interface Given {
  answer: Answer;
  /** The digits of a number that a statement's extra_float_digits keeps. */
  digits: number;
  /** The statements that make settings in the transaction. */
  inside: readonly string[];
  /** A connection whose role has no settings. */
  plain: Lakebase;
  folder: string;
}

type Row = Record<string, unknown>;
type Use = (db: Lakebase, given: Given) => Promise<() => Promise<void> | void>;

/** Rounds the numbers of a chart or profile as the server rounds their texts. */
function rounded(value: unknown, digits: number): unknown {
  return JSON.parse(JSON.stringify(value), (_, one) => typeof one === "number" ? Number(one.toPrecision(digits)) : one);
}

const row = (db: Lakebase) => db.sql<Row>`${db.sql.unsafe(SELECT)}`;
const part = (db: Lakebase, ...names: string[]) =>
  db.sql<Row>`${db.sql.unsafe(`SELECT ${names.map((name) => `${VALUES[name]} AS ${name}`).join(", ")}`)}`;

function checkRow(found: Row, { texts }: Answer): void {
  const { bytes, bytes_none, bytes_list, moment, moments, third, small, thirds, document, days, spans, ...others } =
    found;
  assert.deepEqual(bytes, Uint8Array.of(0, 0x5c, 0x5c, 0x78, 0xff, 0x41));
  assert.deepEqual(bytes_none, new Uint8Array());
  assert.deepEqual(bytes_list, [Uint8Array.of(0, 0x5c, 0xff), null]);
  assert.deepEqual([moment, moments], [new Date("2026-02-03T04:05:06.789Z"), [new Date("2026-02-03T04:05:06Z")]]);
  assert.deepEqual([third, small, thirds], [Number(texts["third"]), Number(texts["small"]), [Number(texts["third"])]]);
  assert.deepEqual(document, JSON.parse(texts["document"]!));
  assert.deepEqual([days, spans].map((list) => (list as unknown[]).length), [3, 2]);
  assert.deepEqual(others, Object.fromEntries(Object.keys(others).map((name) => [name, texts[name]])));
}

/** Compares a table's only row with psql's. */
async function checkKept(plain: Lakebase, names: readonly string[] = NAMES): Promise<void> {
  const list = names.map((name) => `(SELECT ${name}::text FROM kept) IS NOT DISTINCT FROM ${name}::text AS ${name}`);
  const [same] = await plain.query<Row>(`SELECT ${list.join(", ")} FROM truth`);
  assert.deepEqual(Object.entries(same!).filter(([, kept]) => kept !== true).map(([name]) => name), []);
}

const empty = (plain: Lakebase) =>
  plain.query("DROP TABLE IF EXISTS kept; CREATE TABLE kept (LIKE truth); GRANT ALL ON kept TO PUBLIC");

/** Pulls the row to a file and loads the file elsewhere. */
const throughFile = (format: "ndjson" | "arrow" | "parquet"): Use => async (db, { plain, inside, folder }) => {
  await row(db).pull(`${folder}/row.${format}`);
  return async () => {
    await empty(plain);
    await plain.load("kept", `${folder}/row.${format}`);
    // JSON has the digits that the person has requested, like that of row_to_json().
    const rounded = format === "ndjson" && /extra_float_digits = '(-15|0)'/.test(inside.join());
    const others = NAMES.filter((name) => !(rounded && /third|small/.test(name)));
    await checkKept(plain, others);
  };
};

/** Loads a file that another connection has pulled. */
const fromFile = (format: "csv" | "ndjson" | "arrow" | "parquet"): Use => async (db, { plain, folder }) => {
  await plain.pull("truth", `${folder}/truth.${format}`);
  await empty(plain);
  await db.load("kept", `${folder}/truth.${format}`);
  return () => checkKept(plain);
};

/** The uses of the row by a program. Each returns a check of its result, to be run after the transaction. */
const USES: Record<string, Use> = {
  "rows": async (db, { answer }) => {
    const [found] = await row(db);
    return () => checkRow(found!, answer);
  },
  "rows of texts": async (db, { answer }) => {
    const [found] = await db.query<Record<string, string>>(TEXTS);
    return () => assert.deepEqual({ ...found }, answer.texts);
  },
  "rows without moments": async (db, { answer: { texts } }) => {
    const found = await part(db, "day", "typed_day", "clock", "span", "typed_span", "between").first();
    return () =>
      assert.deepEqual({ ...found }, Object.fromEntries(Object.keys(found!).map((name) => [name, texts[name]])));
  },
  "a loop": async (db, { answer }) => {
    const found: Row[] = [];
    for await (const one of row(db)) found.push(one);
    return () => checkRow(found[0]!, answer);
  },
  "the raw pool": async (db) => {
    const { rows: [found] } = await db.pool.query(`SELECT ${VALUES["moment"]} AS at, ${VALUES["bytes"]} AS bytes`);
    return () =>
      assert.deepEqual([found.at, [...found.bytes]], [new Date("2026-02-03T04:05:06.789Z"), [0, 92, 92, 120, 255, 65]]);
  },
  "parameters": async (db, { plain }) => {
    const given = [
      Uint8Array.of(0, 0x5c, 0xff),
      new Date("2026-02-03T04:05:06.789Z"),
      1 / 3,
      [1 / 3],
      "a\\b'",
    ] as const;
    const [bytes, moment, third, thirds, word] = given;
    await db.sql`INSERT INTO kept (bytes, moment, third, thirds, word) VALUES (${bytes}, ${moment}, ${third}, ${[
      ...thirds,
    ]}, ${word})`;
    return async () => {
      const [kept] = await plain.query<Row>("SELECT bytes, moment, third, thirds, word FROM kept");
      assert.deepEqual(Object.values(kept!), given);
    };
  },
  "a drawing": async (db, { answer: { texts } }) => {
    const [text, html] = [await drawn(row(db)), await drawn(row(db), "text/html")];
    return () => {
      const names = ["day", "clock", "typed_day", "span", "typed_span", "third", "between"];
      for (const name of names) {
        assert.ok(text.includes(texts[name]!), `${name}: ${texts[name]} in\n${text}`);
        assert.ok(html.includes(texts[name]!), `${name}: ${texts[name]} in\n${html}`);
      }
      for (const word of ["2026-02-03 04:05:06.789012Z", "\\x005c5c78ff41"]) assert.ok(text.includes(word), text);
    };
  },
  "a chart": async (db, { plain, digits }) => {
    const charts = async (on: Lakebase, query: string) =>
      await Promise.all([["day", "third"], ["moment", "third"], ["clock", "small"]].map(async ([x, y]) => {
        const one = await on.sql`${on.sql.unsafe(query)}`.plot({ x: x!, y: y! });
        return [one.data, one.summary.replace(/ on postgres .*/, "")];
      }));
    const found = await charts(db, SELECT);
    return async () => assert.deepEqual(rounded(found, digits), rounded(await charts(plain, "TABLE truth"), digits));
  },
  "a profile": async (db, { plain, inside, digits }) => {
    const plainly = (profile: Iterable<object>) => [...profile].map((one) => ({ ...one }));
    const zone = await db.sql`SHOW TimeZone`.value();
    const found = plainly(await db.profile(row(db)));
    return () =>
      plain.transaction(async (tx) => {
        await tx.sql`SELECT set_config('TimeZone', ${zone}, true)`;
        for (const statement of inside) await tx.query(statement);
        assert.deepEqual(rounded(found, digits), rounded(plainly(await plain.profile("truth")), digits));
      });
  },
  "columns": async (db, { plain }) => {
    const found = await row(db).columns();
    return async () => {
      const expected = await plain.sql`TABLE truth`.columns();
      assert.deepEqual(found.fields, expected.fields);
      assert.deepEqual([...found].map((column) => [...column]), [...expected].map((column) => [...column]));
    };
  },
  "a load of the query elsewhere": async (db, { plain }) => {
    const loading = plain.load("kept", row(db));
    await loading;
    return () => checkKept(plain);
  },
  "a load of a query from elsewhere": async (db, { plain }) => {
    await db.load("kept", plain.sql`TABLE truth`);
    return () => checkKept(plain);
  },
  "a load of rows": async (db, { plain }) => {
    const moment = new Date("2026-02-03T04:05:06.789Z");
    const given = { bytes: Uint8Array.of(0, 0x5c, 0xff), day: "2026-02-03", moment, third: 1 / 3, thirds: [1 / 3] };
    await db.load("kept", [given]);
    return async () => {
      const [kept] = await plain.query<Row>("SELECT bytes, day, moment, third, thirds FROM kept");
      assert.deepEqual({ ...kept }, given);
    };
  },
  "a pull to CSV": async (db, { answer, folder }) => {
    await row(db).pull(`${folder}/row.csv`);
    return async () => assert.equal(await Deno.readTextFile(`${folder}/row.csv`), answer.csv);
  },
  "a pull to TSV": async (db, { answer, folder }) => {
    await row(db).pull(`${folder}/row.tsv`);
    return async () => assert.equal(await Deno.readTextFile(`${folder}/row.tsv`), answer.tsv);
  },
  "a pull to NDJSON": throughFile("ndjson"),
  "a pull to Arrow": throughFile("arrow"),
  "a pull to Parquet": throughFile("parquet"),
  "a load of CSV": fromFile("csv"),
  "a load of NDJSON": fromFile("ndjson"),
  "a load of Arrow": fromFile("arrow"),
  "a load of Parquet": fromFile("parquet"),
};

/** Some settings with values, each as `name = 'value'`. */
function someSettings(random: Random): string[] {
  return Object.entries(SETTINGS).filter(() => random.below(2) === 0).map(([name, values]) =>
    `${name} = '${random.one(values)}'`
  );
}

/** Settings in the form of PGOPTIONS. */
const asOptions = (settings: string[]) =>
  settings.map((setting) => `-c ${setting.replace(" = ", "=").replace(/'(.*)'/, "$1").replaceAll(" ", "")}`).join(" ");

/** Connects with its own PGOPTIONS, because the tests of a process share their environment. */
async function openWith(serverOptions: string, options: ConnectOptions): Promise<Lakebase> {
  const read = await readSettings({ ...options, envFile: false }, leaseLocal);
  return new Lakebase(await openParts({ ...read, settings: { ...read.settings, serverOptions } }));
}

/** Makes the settings of others. */
async function setOutside(admin: Lakebase, random: Random): Promise<string[]> {
  await admin.query(
    "ALTER ROLE styled RESET ALL; ALTER DATABASE postgres RESET ALL; ALTER ROLE styled IN DATABASE postgres RESET ALL",
  );
  const statements = ["ROLE styled", "DATABASE postgres", "ROLE styled IN DATABASE postgres"].flatMap((whose) =>
    someSettings(random).map((setting) => `ALTER ${whose} SET ${setting}`)
  );
  for (const statement of statements) await admin.query(statement);
  return statements;
}

/** A test with a database, a role `styled`, and connections of roles that have no settings. */
function settingsTest(
  name: string,
  seed: number,
  run: (parts: {
    random: Random;
    admin: Lakebase;
    plain: Lakebase;
    folder: string;
    server: Record<string, string>;
    place: ConnectOptions;
  }) => Promise<void>,
): void {
  Deno.test({
    ...requires(`${name} [seed ${seed}]`, postgresMissing, psqlMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const { port } = await sharedPostgres();
      const folder = await Deno.makeTempDir();
      const place = { host: "127.0.0.1", port, database: "postgres", sslMode: "disable", connectTimeout: 10 } as const;
      const server = { PGHOST: "127.0.0.1", PGPORT: String(port), PGDATABASE: "postgres" };
      const admin = await openWith("", { ...place, user: "postgres", password: "native-secret" });
      try {
        await admin.query(`CREATE ROLE styled LOGIN PASSWORD 'x'; CREATE ROLE other LOGIN PASSWORD 'x';
          GRANT ALL ON SCHEMA public TO styled, other; GRANT styled TO other`);
        await using plain = await openWith(asOptions(["TimeZone = 'UTC'"]), { ...place, user: "other", password: "x" });
        await run({ random: randomFrom(seed), admin, plain, folder, server, place });
      } finally {
        await admin.query("ALTER DATABASE postgres RESET ALL; DROP OWNED BY other, styled; DROP ROLE styled, other");
        await admin.close();
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

const seed = newSeed();
settingsTest(
  "(slow) with any settings of a role, a database and PGOPTIONS, every use of a row gives the same as psql",
  seed,
  async ({ random, admin, plain, folder, server, place }) => {
    for (let round = 0; round < 2; round++) {
      const outside = await setOutside(admin, random);
      const options = asOptions(someSettings(random));
      const given = { answer: await askPsql(server, options, []), digits: 17, inside: [], plain, folder };
      const readOnly = random.below(3) === 0;
      await using db = await openWith(options, { ...place, user: "styled", password: "x", max: 2, readOnly });
      const reset = random.below(2) === 0 ? ["RESET ALL", "DISCARD ALL"][random.below(2)] : undefined;
      for (const [name, use] of Object.entries(USES)) {
        if (readOnly && /parameters|^a load of (?!the)/.test(name)) continue;
        await empty(plain);
        const context = `${name}, round ${round}: ${
          outside.join("; ")
        }; PGOPTIONS ${options}, readOnly ${readOnly}, ${reset}`;
        try {
          if (reset !== undefined) await db.query(reset);
          await (await use(db, given))();
        } catch (error) {
          throw new Error(`${context}: ${(error as Error).message}`, { cause: error });
        }
      }
    }
  },
);

Deno.test({
  ...requires(
    `(slow) whatever PGOPTIONS sets, every use of a row gives what psql gives [PGlite] [seed ${seed}]`,
    psqlMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using local = await startLocal({ passwords: { styled: "x" } });
    const { PGHOST, PGPORT, PGSSLROOTCERT, PGDATABASE } = local.env as Record<string, string>;
    const server = { PGHOST: PGHOST!, PGPORT: PGPORT!, PGSSLROOTCERT: PGSSLROOTCERT!, PGDATABASE: PGDATABASE! };
    const place = { host: PGHOST!, port: Number(PGPORT), ca: local.ca, user: "styled", password: "x" };
    const folder = await Deno.makeTempDir();
    await using owner = await connect(optionsOf(local));
    await owner.query("GRANT ALL ON SCHEMA public TO styled");
    const random = randomFrom(seed);
    await using plain = await openWith(asOptions(["TimeZone = 'UTC'"]), place);
    for (let round = 0; round < 1; round++) {
      const options = asOptions(someSettings(random));
      const answer = await askPsql({ ...server, PGSSLMODE: "verify-full" }, options, []);
      await using db = await openWith(options, { ...place, max: 2 });
      for (const [name, use] of Object.entries(USES)) {
        await empty(plain);
        try {
          await (await use(db, { answer, digits: 17, inside: [], plain, folder }))();
        } catch (error) {
          throw new Error(`${name}, round ${round}, ${options}: ${(error as Error).message}`, { cause: error });
        }
      }
    }
    await Deno.remove(folder, { recursive: true });
  },
});

settingsTest(
  "(slow) with any settings of a transaction, every use of a row gives the same as psql, or names the setting that prevents it",
  seed,
  async ({ random, admin, plain, folder, server, place }) => {
    const refusal =
      /^Cannot read .*: a statement has set (DateStyle to "[^"]+"; RESET DateStyle|IntervalStyle to "\w+"; RESET IntervalStyle|extra_float_digits)/;
    let refused = 0;
    for (let round = 0; round < 3; round++) {
      const outside = await setOutside(admin, random);
      const inside = someSettings(random).filter((setting) => !setting.startsWith("client_encoding"))
        .map((setting) => `SET LOCAL ${setting}`);
      if (round === 0) inside.push("SET LOCAL DateStyle = 'German'"); // so that something is refused, whatever the seed
      const extra = /extra_float_digits = '(-?\d+)'/.exec(inside.join())?.[1];
      const digits = extra === undefined || Number(extra) > 0 ? 17 : Math.max(1, 15 + Number(extra));
      const answer = await askPsql(server, "", inside.map((text) => text.replace(" LOCAL", "")));
      const given = { answer, digits, inside, plain, folder };
      await using db = await openWith("", { ...place, user: "styled", password: "x", max: 2 });
      for (const [name, use] of Object.entries(USES)) {
        if (name === "the raw pool") continue; // it is outside of the transaction
        await empty(plain);
        const context = `${name}, round ${round}: ${outside.join("; ")}; ${inside.join("; ")}`;
        try {
          const check = await db.transaction(async (tx) => {
            for (const statement of inside) await tx.query(statement);
            return await use(db, given);
          });
          await check();
        } catch (error) {
          if (!refusal.test((error as Error).message)) {
            throw new Error(`${context}: ${(error as Error).message}`, { cause: error });
          }
          refused++;
        }
        assert.deepEqual(await row(db).first().then((found) => found!["moment"]), new Date("2026-02-03T04:05:06.789Z"));
      }
    }
    assert.ok(refused > 0);
  },
);

queryTest("a date style that a statement sets is reported where a value would be misread", async ({ open }) => {
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

queryTest("a NULL in an array stays NULL where a role has array_nulls off", async ({ db, open }) => {
  await db.sql`CREATE TABLE lists (words text[])`;
  const role = String(await db.sql`SELECT current_user`.value());
  await db.query(`ALTER ROLE "${role}" SET array_nulls = off`);
  const other = await open({ max: 1 }); // a new session, which gets the setting; `db` is closed by it
  try {
    assert.deepEqual(await other.sql`SELECT ${["a", null, "NULL"]}::text[] AS words`.value(), ["a", null, "NULL"]);
    await other.load("lists", [{ words: ["a", null] }]);
    await other.load("lists", new Blob(['{"words":["a",null]}\n']).stream(), { format: "ndjson" });
    assert.equal(await other.sql`SELECT count(*) FROM lists WHERE words[2] IS NULL`.value(), 2);
  } finally {
    await other.query(`ALTER ROLE "${role}" RESET array_nulls; DROP TABLE lists`);
  }
});

queryTest("another text encoding is refused, and the setting is restored", async ({ open }) => {
  const db = await open({ max: 1 });
  const error = await errorOf(db.sql`SET client_encoding TO LATIN1`);
  assert.match(error.message, /^Cannot set client_encoding to LATIN1: .*convert_to/);
  assert.equal(await db.sql`SELECT ${"café"}::text`.value(), "café");
  assert.equal(await db.sql`SHOW client_encoding`.value(), "UTF8");
});
