import assert from "node:assert/strict";
import { loadModule, scanSync } from "npm:@libpg-query/parser@17.6.10";
import { type SqlKind, sqlTokens } from "../../src/core/sql_text.ts";
import { filesBelow, ROOT } from "../support/files.ts";
import { newSeed, randomFrom } from "../support/random.ts";

await loadModule();

/**
 * PostgreSQL's own scanner judges `sqlTokens()`: both must find the same tokens, of the same kinds, at the same
 * positions.
 */

/** The kinds of PostgreSQL's tokens that are neither words nor symbols, by number. */
const KINDS: Readonly<Record<number, SqlKind>> = {
  259: "name", // U&"..."
  260: "number",
  261: "string",
  262: "string", // U&'...'
  263: "string", // b'...'
  264: "string", // x'...'
  266: "number",
  267: "parameter",
  275: "comment",
  276: "comment",
};

/** PostgreSQL's identifiers, with or without double quotes. */
const IDENTIFIER = 258;

/** PostgreSQL's tokens as `kind start text`; `undefined` if it finds an error, which `unterminated` says. */
function postgresTokens(sql: string): string[] | { unterminated: boolean } {
  let scanned: ReturnType<typeof scanSync>;
  try {
    scanned = scanSync(sql);
  } catch (error) {
    return { unterminated: /"untermina/.test(String(error)) }; // the package makes no JSON of an error
  }
  const bytes = new TextEncoder().encode(sql);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return scanned.tokens.flatMap(({ start, end, tokenType, keywordKind }) => {
    const at = decoder.decode(bytes.subarray(0, start)).length;
    const text = decoder.decode(bytes.subarray(start, end));
    const word = keywordKind > 0 || tokenType === IDENTIFIER;
    const kind = text.startsWith('"') ? "name" : KINDS[tokenType] ?? (word ? "word" : "symbol");
    return kind === "symbol" ? symbols(text, at) : [`${kind} ${at} ${text}`];
  });
}

/** Splits an operator into its characters, because `sqlTokens()` does not say which characters form an operator. */
function symbols(text: string, at: number): string[] {
  return Array.from(text, (character, index) => `symbol ${at + index} ${character}`);
}

/** Our tokens in the same form. PostgreSQL has one token for strings that are separated by a line break. */
function ownTokens(sql: string): { tokens: string[]; closed: boolean } {
  const tokens: string[] = [];
  let last: { start: number; end: number } | undefined;
  let closed = true;
  for (const token of sqlTokens(sql)) {
    const { kind, start, end } = token;
    closed &&= token.closed;
    if (kind === "space") continue;
    const continues = kind === "string" && sql[start] === "'" && last !== undefined &&
      /^\s*[\r\n]\s*$/.test(sql.slice(last.end, start));
    if (continues) tokens.pop();
    const from = continues ? last!.start : start;
    const text = sql.slice(from, end);
    tokens.push(...(kind === "symbol" ? symbols(text, from) : [`${kind} ${from} ${text}`]));
    last = kind === "string" && !sql.startsWith("$", start) ? { start: from, end } : undefined;
  }
  return { tokens, closed };
}

/** Compares the tokens of a text. Returns whether PostgreSQL accepts it. */
function agree(sql: string, message: string): boolean {
  const expected = postgresTokens(sql);
  const { tokens, closed } = ownTokens(sql);
  if (Array.isArray(expected)) {
    assert.deepEqual(tokens, expected, message);
    assert.ok(closed, message);
    return true;
  }
  if (expected.unterminated) assert.ok(!closed, message);
  return false;
}

/** The edge cases of PostgreSQL's scanner (scan.l), and statements of all kinds. */
const CORNERS: readonly string[] = [
  "",
  " \t\r\n\f\v",
  "SELECT 1;;",
  "SELECT 'a', 'it''s', '', '''', ''''''",
  "SELECT 'a\\', 'b'",
  "SELECT E'a\\'b', e'\\\\', E'\\n\\t', E'''', E''",
  "SELECT E'a''b\\'c''' || 'd\\'",
  "SELECT 'a'\n'b', 'c' 'd'",
  "SELECT 'a'\r'b'\r\n\t 'c'",
  "SELECT E'a\\''\n'\\'b'",
  "SELECT 'a'\n\"b\"",
  "SELECT 'a'\nE'b'",
  "SELECT U&'d\\0061t\\+000061', u&'x' UESCAPE '!'",
  'SELECT U&"d\\0061t", u&"a""b"',
  "SELECT U & 'x', u&1",
  "SELECT B'01', b'', X'1F', x'', N'x', n''",
  "SELECT be'x', ub'x', xe'y', nn'z'",
  'SELECT "a", "a""b", "A.b", ".", "é"',
  'SELECT "a"."b"."c", a."b".c',
  "SELECT $$a$$, $$$$, $a$b$a$, $é$x$é$, $_1$x$_1$",
  "SELECT $a$ $b$ $a $$ $a$",
  "SELECT $a$ $a$a$a$, 1",
  "SELECT $a$x$A$ y $a$",
  "DO $do$ BEGIN RAISE NOTICE '%', $q$it's$q$; END $do$",
  "SELECT a$b, a$$b, $1, $23, $1::int, $1$2",
  "SELECT $ 1, $-1",
  "SELECT 1, 1.5, .5, 5., 5.e3, 1e10, 1E+5, 1.5e-3, .5e1",
  "SELECT 0x1F, 0XaB, 0o17, 0O7, 0b101, 0B1, 1_000, 0x_ff, 1_0.2_5e1_0",
  "SELECT 1..10, a..b, 1...5, ..5",
  "SELECT 1.5.5, 1.a, t.5",
  "SELECT -1, +1, - -1, 1-1, 1- -1",
  "SELECT 1 --2\n, 3",
  "SELECT 1--2",
  "SELECT 1-- a ' \" $$ /*\n+ 2",
  "SELECT 1 -- a\r+ 2 -- b\r\n+ 3",
  "--",
  "-- only this",
  "SELECT /* a */ 1 /* b /* c */ d */ + /**/ 2",
  "SELECT /* -- */ 1",
  "SELECT /* ' \" $$ */ 1",
  "SELECT 1 /*/ */ + 2",
  "SELECT 1 /* * / */ + 2 /***/",
  "SELECT 1*/**/2",
  "SELECT a+-b, a@-b, a<>-b, a->>'b', a#>>'{b}', a@>b, a?b, a?|b, a?&b",
  "SELECT a!=b, a<=b, a>=b, a=>b, a:=b, a::b, a:b, a<-b, a|/b, ||/ a, !!a",
  "SELECT a OPERATOR(pg_catalog.+) b, a[1], a[1:2], ARRAY[1, 2], (a).b, (a).*",
  "SELECT ~a, a~b, a!~*b, a&b, a#b, a^b, a%b, `a`",
  "SELECT été, 💡, naïve_1, _x, x_, Ünï$1, 日本",
  "SELECT \u00a01, a\u3000b",
  "SELECT CASE WHEN a THEN b ELSE c END, CAST(a AS int), EXTRACT(year FROM a)",
  "SELECT DATE '2024-01-01', INTERVAL '1' DAY, TIMESTAMP WITH TIME ZONE 'now'",
  "SELECT NULL, TRUE, false, UNKNOWN, NaN, DEFAULT",
  "SELECT DISTINCT ON (a) * FROM ONLY t TABLESAMPLE bernoulli (1) AS x (a, b)",
  "SELECT * FROM a NATURAL LEFT JOIN b USING (c) CROSS JOIN LATERAL f(a) WITH ORDINALITY",
  "SELECT sum(a) FILTER (WHERE b) OVER (PARTITION BY c ORDER BY d ROWS 1 PRECEDING) FROM t WINDOW w AS ()",
  "SELECT a FROM t GROUP BY GROUPING SETS ((a), ()) HAVING count(*) > 1 ORDER BY a USING < NULLS FIRST",
  "SELECT a FROM t LIMIT ALL OFFSET 2 ROWS FETCH FIRST 3 ROWS WITH TIES FOR UPDATE SKIP LOCKED",
  "WITH RECURSIVE a AS MATERIALIZED (VALUES (1)) SEARCH DEPTH FIRST BY x SET y SELECT * FROM a",
  "TABLE t UNION ALL VALUES (1, DEFAULT) INTERSECT (SELECT 1) EXCEPT DISTINCT SELECT 2",
  "SELECT a COLLATE \"C\", a IS DISTINCT FROM b, a NOT LIKE 'x' ESCAPE '!', a SIMILAR TO 'y'",
  "SELECT x AT TIME ZONE 'UTC', ROW(1, 2) = ANY (ARRAY[ROW(1, 2)]), a BETWEEN SYMMETRIC 1 AND 2",
  "SELECT JSON_OBJECT('a': 1), XMLELEMENT(NAME a, b), a IS JSON OBJECT, JSON_TABLE(a, '$[*]' COLUMNS (b int))",
  "INSERT INTO t (a, b) OVERRIDING SYSTEM VALUE SELECT 1 ON CONFLICT (a) DO UPDATE SET a = EXCLUDED.a RETURNING *",
  "UPDATE ONLY t AS x SET (a, b) = (1, 2), c[1] = 3 FROM u WHERE CURRENT OF cur",
  "DELETE FROM t USING u WHERE t.a = u.a RETURNING t.*",
  "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED AND u.b THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
  "COPY t (a) FROM STDIN WITH (FORMAT csv, DELIMITER E'\\t', NULL '')",
  "COPY (SELECT 1) TO PROGRAM 'cat > x'",
  "CREATE TABLE IF NOT EXISTS t (a int GENERATED ALWAYS AS IDENTITY, b text DEFAULT 'x''y' CHECK (b <> ''))",
  "CREATE TABLE p PARTITION OF t FOR VALUES FROM (MINVALUE) TO ('2024-01-01')",
  'CREATE UNIQUE INDEX CONCURRENTLY i ON t USING btree (lower(a) COLLATE "C" DESC) INCLUDE (b) WHERE c',
  "CREATE OR REPLACE FUNCTION f(a int, OUT b text) RETURNS SETOF record LANGUAGE sql AS $$ SELECT $1, 'x' $$",
  "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
  "CREATE FUNCTION f() RETURNS int RETURN 1 + 1",
  "CREATE TRIGGER t BEFORE UPDATE OF a ON b REFERENCING OLD TABLE AS o FOR EACH ROW EXECUTE FUNCTION f('x')",
  "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = f, COMMUTATOR = OPERATOR(s.===))",
  "CREATE AGGREGATE a (int) (SFUNC = f, STYPE = int[], INITCOND = '{}')",
  "CREATE TYPE e AS ENUM ('a', 'b'''); CREATE DOMAIN d AS int CHECK (VALUE > 0)",
  "CREATE VIEW v AS SELECT 1 WITH CASCADED CHECK OPTION; CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA",
  "CREATE POLICY p ON t FOR ALL TO PUBLIC USING (a = current_user) WITH CHECK (true)",
  "CREATE ROLE r WITH LOGIN PASSWORD 'se''cret' VALID UNTIL 'infinity'",
  "ALTER TABLE t ADD COLUMN a int, ALTER b TYPE text USING b::text, DROP CONSTRAINT IF EXISTS c CASCADE",
  "GRANT SELECT (a), UPDATE ON ALL TABLES IN SCHEMA s TO r WITH GRANT OPTION; REVOKE ALL ON t FROM PUBLIC",
  "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; SAVEPOINT s; ROLLBACK TO SAVEPOINT s; COMMIT AND NO CHAIN",
  "PREPARE p (int) AS SELECT $1; EXECUTE p (1); DEALLOCATE ALL",
  "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1; FETCH FORWARD 5 FROM c; MOVE LAST c; CLOSE ALL",
  "LISTEN \"Channel\"; NOTIFY c, 'it''s'; UNLISTEN *",
  "SET search_path TO \"$user\", public; SET LOCAL x.y = 'z'; RESET ALL; SHOW timezone; DISCARD TEMP",
  "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET TIME ZONE INTERVAL '-8' HOUR TO MINUTE",
  "EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT 1; ANALYZE t (a); VACUUM (FULL) t; REINDEX TABLE t",
  "COMMENT ON COLUMN t.a IS E'it\\'s'; SECURITY LABEL ON ROLE r IS 'x'; LOCK t IN ACCESS EXCLUSIVE MODE NOWAIT",
  "CALL p(a => 1, b := 2); DO LANGUAGE plpgsql $$ BEGIN FOR i IN 1..10 LOOP NULL; END LOOP; END $$",
  "IMPORT FOREIGN SCHEMA s LIMIT TO (t) FROM SERVER x INTO y OPTIONS (a 'b')",
  "REFRESH MATERIALIZED VIEW CONCURRENTLY m; TRUNCATE t, u RESTART IDENTITY CASCADE",
  // Texts that PostgreSQL refuses as unterminated.
  "SELECT 'open",
  "SELECT 'a' 'open''",
  "SELECT E'open\\'",
  "SELECT U&'open",
  "SELECT x'open",
  'SELECT "open',
  'SELECT U&"open""',
  "SELECT $$open",
  "SELECT $a$open$$",
  "SELECT /* open",
  "SELECT /* open /* */",
];

Deno.test("sqlTokens() agrees with PostgreSQL on the edge cases of its scanner", () => {
  const accepted = CORNERS.filter((sql) => agree(sql, sql));
  assert.ok(accepted.length > 90, `${accepted.length}`);
});

const VERBS =
  "SELECT|WITH|INSERT|UPDATE|DELETE|MERGE|CREATE|ALTER|DROP|GRANT|REVOKE|COPY|SET|SHOW|BEGIN|COMMIT|ROLLBACK|" +
  "SAVEPOINT|PREPARE|EXECUTE|DECLARE|FETCH|LISTEN|NOTIFY|EXPLAIN|ANALYZE|VALUES|TABLE|TRUNCATE|COMMENT|DO|CALL|LOCK";

/** The statements in the literals of a program, with a parameter for each `${value}`, and those in code blocks. */
function statementsIn(text: string): string[] {
  const literals = new RegExp("([`\"'])((?:" + VERBS + ")\\b(?:\\\\[^]|(?!\\1)[^\\\\])*)\\1", "g");
  const found = [...text.matchAll(literals)].map(([, quote, body]) => quote === "`" ? withParameters(body!) : body!);
  const blocks = [...text.matchAll(/```sql[^\n]*\n([^]*?)```/g)].map(([, body]) => withParameters(body!));
  return [...found, ...blocks].filter((sql) => sql.isWellFormed() && !sql.includes("\0"));
}

function withParameters(template: string): string {
  return template.replace(/\$\{[^{}]*\}/g, "$1");
}

Deno.test("sqlTokens() agrees with PostgreSQL on the statements of the source, the tests and the documents", async () => {
  const statements = new Set<string>();
  for (const [folder, ending] of [["src", ".ts"], ["tests", ".ts"], ["docs", ".md"]] as const) {
    for (const path of filesBelow(ROOT + folder, ending)) {
      for (const sql of statementsIn(await Deno.readTextFile(path))) statements.add(sql);
    }
  }
  const accepted = [...statements].filter((sql) => agree(sql, sql));
  assert.ok(accepted.length > 1000, `${accepted.length} of ${statements.size}`);
});

const PARTS = [
  ..."'|''|\"|$|$$|$a$|$1|1|.5|1.|e|E'|e'|U&'|u&\"|x'|b'|n|N'|\\|\\'|--|/*|*/|\n|\r|\r\n| |\t|\f|;|(|)|[|]|,|.|..|:|::"
    .split("|"),
  ..."|| + - * / < > = <> -> @ # ? a ab é 💡 _ select from where 0x1f 1e5 1_0 `".split(" ").filter((part) =>
    part !== ""
  ),
];

/**
 * A comment between the parts of one string. PostgreSQL treats it as space, but this package's scanner reports
 * comments, and so ends the string there. `sql_text_test.ts` has the cases.
 */
const AMONG_STRINGS = /'\s*--[^]*[\r\n]\s*'/;

Deno.test("sqlTokens() agrees with PostgreSQL on random mixtures", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  let accepted = 0;
  for (let round = 0; round < 20_000; round++) {
    const sql = Array.from({ length: 1 + random.below(12) }, () => random.one(PARTS)).join("");
    if (AMONG_STRINGS.test(sql)) continue;
    if (agree(sql, `seed ${seed}, round ${round}: ${JSON.stringify(sql)}`)) accepted++;
  }
  assert.ok(accepted > 3000, `${accepted}`);
});
