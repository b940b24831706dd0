import assert from "node:assert/strict";
import { LakebaseError, redact } from "../../src/core/errors.ts";
import { keepSecret } from "../../src/core/redact.ts";
import { hintFor } from "../../src/sql/advice.ts";
import { CatalogCache } from "../../src/sql/catalog_cache.ts";
import { suggest } from "../../src/sql/diagnosis.ts";
import { queryError } from "../../src/sql/failure.ts";
import { sized } from "../support/random.ts";

const TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl-_x";

Deno.test("redact() hides credentials in a text", () => {
  const cases: [string, string][] = [
    [`token ${TOKEN} refused`, "token <token> refused"],
    ["Bearer abcdefgh12345678", "Bearer <token>"],
    ["dapi0123456789abcdef0123456789abcdef-2", "<token>"],
    ["a token cut to eyJhbGciOiJSUzI1NiIs…", "a token cut to <token>…"],
    ["postgres://me:hunter2@host/db", "postgres://me:<password>@host/db"],
    ["postgres://me:hunt/er2@host/db", "postgres://me:<password>@host/db"],
    ["postgres://me:hun@ter2@host/db", "postgres://me:<password>@host/db"],
    ["postgresql://host/db?user=me&password=hunter2&a=b", "postgresql://host/db?user=me&password=<password>&a=b"],
    ["jdbc:postgresql://host/db?password=hunter2", "jdbc:postgresql://host/db?password=<password>"],
    ["host=h user=me password=hunter2 port=1", "host=h user=me password=<password> port=1"],
    ["host=h password='hun ter\\'2' port=1", "host=h password=<password> port=1"],
    ["Server=h;Pwd=hunter2;Port=1", "Server=h;Pwd=<password>;Port=1"],
    ["postgres://me:a@h, postgres://you:b@h", "postgres://me:<password>@h, postgres://you:<password>@h"],
    ["host=h password='cut off by the dri", "host=h password=<password>"],
    ['{"password="hunter 2"}', '{"password=<password>}'],
    ["password=&a=b", "password=&a=b"],
    ["http://a:b://c:d@e", "http://a:<password>@e"],
    ["://a:b@c", "://a:b@c"],
    ["https://host:443/path", "https://host:443/path"],
    ["https://host/path?a=b", "https://host/path?a=b"],
    ["GET https://s3.example/k?X-Amz-Date=1&X-Amz-Signature=0a), again", "GET https://s3.example/k?<signature> again"],
    ['<a href="https://b.example/k?sv=1&sig=abc%3D">', '<a href="https://b.example/k?<signature>">'],
    ["/k?X-Amz-Date=1&X-Amz-Signature=0a&b=c", "/k?X-Amz-Date=1&X-Amz-Signature=<signature>&b=c"],
    ['{"u":"https:\\/\\/b.example\\/k?sig=abc%3D"}', '{"u":"https:\\/\\/b.example\\/k?sig=<signature>"}'],
    ['{"client_secret": "hunter\\"2", "a": 1}', '{"client_secret": "<secret>", "a": 1}'],
    ["Authorization: Basic bWU6aHVudGVyMg==, no", "Authorization: Basic <password>, no"],
    ["basic authentication is off", "basic authentication is off"],
    ["a://b c?X-Amz-Date=1 d://e?f=1", "a://b c?X-Amz-Date=1 d://e?f=1"],
    ['role "eyes" does not exist', 'role "eyes" does not exist'],
  ];
  for (const [text, expected] of cases) assert.equal(redact(text), expected);
});

Deno.test("LakebaseError prints no secrets and no fields of its causes", () => {
  const driver = Object.assign(new Error(`refused ${TOKEN}`), {
    config: { token: TOKEN },
    client: { password: TOKEN },
  });
  const outer = new Error("outer", { cause: driver });
  const error = new LakebaseError("LOGIN_REFUSED", `Cannot log in with ${TOKEN}`, { cause: outer });
  const printed = `${error} ${error.stack} ${Deno.inspect(error, { depth: 10 })} ${JSON.stringify(error)}`;
  assert.doesNotMatch(printed, /eyJhbGci|c2lnbmF0dXJl/);
  assert.match(printed, /refused <token>/);
});

Deno.test("a secret of a million characters is hidden, and the origin of a setting shows none", () => {
  const long = "xy".repeat(500_000);
  keepSecret(long);
  assert.equal(redact(`a ${long} b`), "a <secret> b");
  const error = new LakebaseError("BAD_SETTING", "no", { setting: "envFile", origin: "postgres://me:hunter2@host/db" });
  assert.equal(error.origin, "postgres://me:<password>@host/db");
});

Deno.test("LakebaseError keeps code, SQLSTATE and the name of its class", () => {
  const error = new LakebaseError("QUERY_FAILED", "no", { sqlstate: "42P01" });
  assert.deepEqual([error.code, error.sqlstate, error.name], ["QUERY_FAILED", "42P01", "LakebaseError"]);
  assert.ok(error instanceof Error);
});

/** Ten million characters that a pattern with several ways to read a text would scan repeatedly. */
const HOSTILE: [piece: string, end: string, start?: string][] = [
  ["x", ""],
  [" ", "", "bearer"],
  ["\n", ""],
  ["\u0301", ""],
  ["a1", "", "dapi"],
  ["a.", "", "eyJhbGciOi"],
  ["a", "@", "a://b:"],
  ["a://b:", ""],
  ["a ", "'", "password='"],
  ['pwd="\\', ""],
  ["''", "", "password '"],
  ['relation "', "does not exist"],
  ["column ", "does not exist"],
  ["insert into ", ""],
];

function ofMegabytes(piece: string): string {
  return piece.repeat(Math.ceil(sized(1_000_000, 10_000_000) / piece.length)); // quadratic time would take hours
}

for (const [piece, end, start = ""] of HOSTILE) {
  Deno.test(`(slow) megabytes of ${JSON.stringify(start + piece)} in an error take linear time`, async () => {
    const long = start + ofMegabytes(piece) + end;
    assert.equal(typeof redact(long), "string");
    const failure = Object.assign(new Error(long), {
      code: "42P01",
      severity: "ERROR",
      detail: long,
      hint: long,
      where: long,
      position: "900000",
    });
    const error = queryError(failure, { text: `SELECT '${long}'`, values: [long] });
    assert.equal((error.cause as Error).message, redact(long));
    assert.ok(error.message.length < 11_000, `${error.message.length} characters`);
    assert.ok(error.stack!.length < 12_000);
    assert.ok(Deno.inspect(error).length < 500_000, `${Deno.inspect(error).length} characters`);
    const session = { queryIfFree: () => Promise.resolve([]) };
    for (const code of ["42P01", "42703"]) {
      assert.equal(await suggest(session, { code, message: long }, long), undefined);
    }
    for (const code of ["42601", "22P02"]) {
      hintFor({ code, message: `at or near "$1"${long}`, position: "900000" }, { text: long, values: [`{${long}`] });
    }
    const catalog = new CatalogCache();
    catalog.onChange = () => {};
    catalog.invalidate(long, long);
  });
}

Deno.test("a long message is cut in its middle, and its cause has all of it", () => {
  const whole = `Cannot begin: ${"a".repeat(50_000)} password=secret; and so it ends`;
  const { message, cause, stack } = new LakebaseError("BAD_FILE", whole);
  assert.match(
    message,
    /^Cannot begin: a{7000,8000} \[\.\.\. [\d,]+ characters are not shown \.\.\.\] a+ .*and so it ends$/,
  );
  assert.equal((cause as Error).message, whole.replace("secret", "<password>"));
  assert.ok(stack!.length < 11_000 && (cause as Error).stack!.length < 11_000);
});

Deno.test("redact() hides known secrets and their encoded forms", () => {
  const opaque = 'nothing/like a "token"+é';
  [opaque, "plainword", "short", undefined].forEach(keepSecret);
  const cases: [string, string][] = [
    [`said ${opaque}!`, "said <secret>!"],
    [JSON.stringify({ opaque }), '{"opaque":"<secret>"}'],
    [`?p=${encodeURIComponent(opaque)}&q`, "?p=<secret>&q"],
    ["plainword and plainwords, my_plainword", "<secret> and plainwords, my_plainword"],
    ["a short text", "a short text"],
  ];
  for (const [text, expected] of cases) assert.equal(redact(text), expected);
  for (let n = 0; n < 100; n++) keepSecret(`another-secret-${n}`);
  assert.equal(redact(`another-secret-99 ${opaque}`), `<secret> ${opaque}`);
});

Deno.test("a printed error has no lines for unknown fields", () => {
  const error = new LakebaseError("QUERY_FAILED", "Cannot run it", { sqlstate: "42703" });
  assert.deepEqual({ ...error }, { name: "LakebaseError", code: "QUERY_FAILED", sqlstate: "42703" });
  assert.doesNotMatch(Deno.inspect(new LakebaseError("CLOSED", "Cannot run it")), /undefined/);
  assert.equal(error.setting, undefined);
});
