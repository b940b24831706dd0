import assert from "node:assert/strict";
import { LakebaseError, redact } from "../src/errors.ts";

const TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl-_x";

Deno.test("redact() takes credentials out of a text", () => {
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
    ["https://host:443/path", "https://host:443/path"],
    ["https://host/path?a=b", "https://host/path?a=b"],
    ['role "eyes" does not exist', 'role "eyes" does not exist'],
  ];
  for (const [text, expected] of cases) assert.equal(redact(text), expected);
});

Deno.test("LakebaseError prints neither its causes' secrets nor what they carry", () => {
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

Deno.test("LakebaseError keeps code, SQLSTATE and the name of its class", () => {
  const error = new LakebaseError("QUERY_FAILED", "no", { sqlstate: "42P01" });
  assert.deepEqual([error.code, error.sqlstate, error.name], ["QUERY_FAILED", "42P01", "LakebaseError"]);
  assert.ok(error instanceof Error);
});
