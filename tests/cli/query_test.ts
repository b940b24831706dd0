import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { cliTest } from "./support.ts";

cliTest("lakebase query writes rows as a table, CSV, JSON or lines of JSON", async ({ run }) => {
  const sql = "SELECT n AS id, CASE n WHEN 1 THEN 'a,b' END AS name FROM generate_series(1, 2) AS n";
  const cases: [args: string[], text: string][] = [
    [[], " id | name\n----+------\n  1 | a,b\n  2 | NULL\n(2 rows)\n"],
    [["--no-header", "--null", "-"], "  1 | a,b\n  2 | -\n"],
    [["--format", "csv"], 'id,name\n1,"a,b"\n2,\n'],
    [["--format", "csv", "--delimiter", ";", "--null", "\\N", "--no-header"], "1;a,b\n2;\\N\n"],
    [["--format", "json"], '[\n {"id":1,"name":"a,b"},\n {"id":2,"name":null}\n]\n'],
    [["--format", "ndjson"], '{"id":1,"name":"a,b"}\n{"id":2,"name":null}\n'],
  ];
  for (const [args, text] of cases) {
    const { code, stdout, stderr } = await run(["query", sql, ...args]);
    assert.deepEqual([code, stdout, stderr], [0, text, ""], args.join(" "));
  }
});

cliTest("lakebase query reads SQL from an argument, a file or standard input", async ({ run, folder }) => {
  await Deno.writeTextFile(`${folder}/one.sql`, "\uFEFFSELECT 1 AS one;\n");
  const cases: [args: string[], stdin?: string][] = [
    [["SELECT 1 AS one"]],
    [["--file", "one.sql"]],
    [[], "SELECT 1 AS one"],
    [["-"], "SELECT 1 AS one;"],
    [["-f", "-"], "-- a note\nSELECT 1 AS one"],
  ];
  for (const [args, stdin] of cases) {
    const options = stdin === undefined ? {} : { stdin };
    const { code, stdout, stderr } = await run(["query", "--format", "csv", ...args], options);
    assert.deepEqual([code, stdout, stderr], [0, "one\n1\n", ""], args.join(" "));
  }
});

cliTest("lakebase query binds parameters with any characters", async ({ run }) => {
  const hostile = "'; DROP TABLE trips; -- $zone \\' ${x}\n\"";
  const { code, stdout, stderr } = await run([
    ...["query", "--format", "json", "SELECT $zone AS zone, $n + 1 AS next, $1::text AS empty, '$zone' AS literal"],
    ...["-p", `zone=${hostile}`, "--param", "n=41", "-p", "1="],
  ]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), [{ zone: hostile, next: 42, empty: "", literal: "$zone" }]);
});

cliTest(
  "lakebase query runs statements in order on one connection, with transactions of their own",
  async ({ run }) => {
    const script = `CREATE TEMP TABLE zones (name text); SET application_name = 'mine';
    BEGIN; INSERT INTO zones VALUES ('Harlem'); SAVEPOINT s; DELETE FROM zones; ROLLBACK TO s; COMMIT;
    BEGIN; DELETE FROM zones; ROLLBACK;
    DO $$ BEGIN RAISE WARNING 'mind the gap'; END $$;
    SELECT name, current_setting('application_name') AS app FROM zones; TABLE zones`;
    const { code, stdout, stderr } = await run(["query", "--format", "csv"], { stdin: script });
    assert.deepEqual([code, stdout, stderr], [0, "name,app\nHarlem,mine\nname\nHarlem\n", "WARNING:  mind the gap\n"]);
    const table = await run(["query", "CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2); TABLE t"]);
    assert.equal(table.stdout, "CREATE TABLE\nINSERT 0 2\n a\n---\n 1\n 2\n(2 rows)\n");
  },
);

cliTest("lakebase query ends at the first statement that fails, and prints its location", async ({ run, folder }) => {
  await Deno.writeTextFile(`${folder}/bad.sql`, "SELECT 1;\n\nSELECT nope\nFROM pg_class;\nSELECT 2");
  const { code, stdout, stderr } = await run(["query", "--format", "csv", "-f", "bad.sql"]);
  assert.deepEqual([code, stdout], [1, "?column?\n1\n"]);
  assert.match(
    stderr,
    /^lakebase: \[QUERY_FAILED\] bad\.sql:3: column "nope" does not exist .*\nLINE 1: SELECT nope\n {15}\^\n$/,
  );
  const one = await run(["query", "SELECT nope"]);
  assert.match(one.stderr, /^lakebase: \[QUERY_FAILED\] column "nope" does not exist/);
  const noticed = await run(["query", "DO $$ BEGIN RAISE NOTICE 'before'; RAISE EXCEPTION 'after'; END $$"]);
  assert.match(noticed.stderr, /^NOTICE: {2}before\nlakebase: \[QUERY_FAILED\] after/);
  const aborted = await run(["query", "BEGIN; SELECT nope; COMMIT"]);
  assert.match(aborted.stderr, /SQL:1: column "nope"/);
});

cliTest("lakebase query rolls back an open transaction, and says so", async ({ run }) => {
  const { code, stderr } = await run(["query", "BEGIN; CREATE TABLE left_open (a int)"]);
  assert.equal(code, 1);
  assert.match(stderr, /Cannot leave a transaction open.*rolled back/);
  assert.equal((await run(["query", "SELECT to_regclass('left_open')", "--format", "csv"])).stdout, "to_regclass\n\n");
});

cliTest("lakebase query --output writes a complete file or none", async ({ run, folder }) => {
  const path = `${folder}/rows.csv`;
  const args = ["query", "--format", "csv", "--output", "rows.csv"];
  const whole = await run([...args, "SELECT n FROM generate_series(1, 3) AS n"]);
  assert.deepEqual([whole.code, whole.stdout, await Deno.readTextFile(path)], [0, "", "n\n1\n2\n3\n"]);
  const failed = await run([...args, "SELECT 1 / (100000 - n) FROM generate_series(1, 200000) AS n"]);
  assert.equal(failed.code, 1);
  assert.equal(await Deno.readTextFile(path), "n\n1\n2\n3\n");
  assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["rows.csv"]);
  assert.equal((await run(["query", "SELECT 1", "--output", "no/such/folder.csv"])).code, 1);
  assert.equal((await run(["query", "SELECT 1", "--output", "."])).code, 1);
});

cliTest("lakebase query refuses invalid arguments before it runs a statement", async ({ run }) => {
  const cases: [args: string[], message: RegExp][] = [
    [["SELECT $a"], /\$a has no value; give -p a=VALUE/],
    [["SELECT 1", "-p", "a=1"], /the SQL has no \$a/],
    [["SELECT 1", "-p", "a"], /must be name=value/],
    [["SELECT $a", "-p", "a=1", "-p", "a=2"], /a already has a value/],
    [["SELECT 1", "--format", "xml"], /table, csv, json, ndjson/],
    [["SELECT 1", "--delimiter", ";"], /--delimiter is for --format csv/],
    [["SELECT 1", "--format", "csv", "--delimiter", "ab"], /one character/],
    [["SELECT 1", "--format", "json", "--no-header"], /for table and CSV/],
    [["SELECT 1", "--timeout", "soon"], /number of seconds above 0/],
    [["SELECT 1", "--port", "x"], /whole number/],
    [["SELECT", "1"], /too many arguments/],
    [["SELECT 1", "-f", "x.sql"], /give only one/],
    [["report.sql"], /did you mean --file report\.sql/],
    [["-f", "missing.sql"], /missing\.sql does not exist/],
    [["\\dt"], /\\dt is a command of psql/],
    [[""], /there is no SQL in the command line/],
    [[], /there is no SQL in standard input/],
    [["SELECT 1", "--hots", "x"], /Did you mean --host\?/],
    [["SELECT 1", "--endpoint", "a b"], /BAD_SETTING.*--endpoint/],
  ];
  const outcomes = await Promise.all(cases.map(([args]) => run(["query", ...args], { stdin: "" })));
  for (const [index, { code, stdout, stderr }] of outcomes.entries()) {
    const [args, message] = cases[index]!;
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
    assert.ok(stderr.startsWith("lakebase: "), stderr);
  }
});

cliTest("lakebase query prints why it can't connect, and no secret", async ({ run, local }) => {
  const wrong = { PGPASSWORD: "hunter2-secret", PGUSER: "nobody" };
  const refused = await run(["query", "SELECT 1"], { env: { ...wrong, LAKEBASE_DEBUG: "1" } });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /LOGIN_REFUSED/);
  assert.doesNotMatch(refused.stderr + refused.stdout, /hunter2|dapi|eyJ/);
  const nobody = await run(["query", "SELECT 1", "--host", "localhost", "--port", "1", "--connect-timeout", "30"]);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /^lakebase: \[UNREACHABLE\] /);
  local.faults.reset();
  const help = await run(["query", "--help"]);
  assert.doesNotMatch(help.stdout, /--password/);
  assert.match(help.stdout, /PGPASSWORD.*Examples:/s);
});

cliTest("lakebase query ends a statement that takes too long", async ({ run }) => {
  const { code, stderr } = await run(["query", "SELECT 1; SELECT pg_sleep(60)", "--timeout", "0.5"]);
  assert.equal(code, 1);
  assert.match(stderr, /\[CANCELED\] .*0\.5 s/);
});

cliTest("lakebase query and pull run SQL in a SQL warehouse", async ({ run, folder }) => {
  const warehouse = ["--warehouse", "Serverless Starter Warehouse"];
  const sql = "SELECT n, n * $f::int AS p, ARRAY[n, NULL] AS list FROM generate_series(1, 2) AS n";
  const cases: [args: string[], text: string][] = [
    [[], " n | p |   list\n---+---+----------\n 1 | 2 | {1,NULL}\n 2 | 4 | {2,NULL}\n(2 rows)\n"],
    [["--format", "csv"], 'n,p,list\n1,2,"{1,NULL}"\n2,4,"{2,NULL}"\n'],
    [["--format", "ndjson"], '{"n":1,"p":2,"list":[1,null]}\n{"n":2,"p":4,"list":[2,null]}\n'],
  ];
  for (const [args, text] of cases) {
    const { code, stdout, stderr } = await run(["query", sql, "-p", "f=2", ...warehouse, ...args]);
    assert.deepEqual([code, stdout, stderr], [0, text, ""], args.join(" "));
  }
  const pulled = await run(["pull", ...warehouse, "--sql", "SELECT 1 AS one", "one.csv", "--quiet"]);
  assert.deepEqual([pulled.code, pulled.stderr], [0, ""]);
  assert.equal(await Deno.readTextFile(`${folder}/one.csv`), "one\n1\n");
  const refusals: [args: string[], why: RegExp][] = [
    [["query", "SELECT 1", "--schema", "x"], /--schema is for --warehouse/],
    [["query", "SELECT 1", ...warehouse, "--host", "x"], /host is for a Lakebase/],
    [["pull", "trips", "trips.csv", ...warehouse], /with --warehouse, a pull takes a --sql/],
    [["query", "SELECT 1", "--warehouse", "Nix"], /none with the id or name "Nix"/],
    [["query", "SELECT * FROM nix", ...warehouse], /TABLE_OR_VIEW_NOT_FOUND[^]*LINE 1/],
  ];
  for (const [args, why] of refusals) {
    const { code, stderr } = await run(args);
    assert.ok((code === 1 || code === 2) && why.test(stderr), stderr);
  }
});

cliTest("(slow) Ctrl-C cancels a statement in its SQL warehouse, and ends the program", async ({ local, spawn }) => {
  local.faults.warehouse.hold = "RUNNING";
  const before = local.requests.length;
  const calls = () => local.requests.slice(before).filter(({ path }) => path.includes("/sql/statements"));
  await using child = spawn(["query", "--warehouse", "Serverless Starter Warehouse", "SELECT 1"]);
  await eventually("the statement is submitted", () => calls().some(({ method }) => method === "POST"));
  child.kill("SIGINT");
  assert.equal((await child.status).code, 130);
  assert.match(calls().at(-1)!.path, /\/cancel$/);
});
