import assert from "node:assert/strict";
import { ApiError, readCredentialRequest } from "../../src/local/api_json.ts";
import { type Claims, CredentialIssuer } from "../../src/local/tokens.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const endpoint = "projects/p/branches/b/endpoints/e";

const lifetimes: [Record<string, unknown>, number | RegExp][] = [
  [{}, 3600],
  [{ ttl: "300s" }, 300],
  [{ ttl: "900.5s" }, 900.5],
  [{ ttl: "3600s" }, 3600],
  [{ ttl: "299s" }, /'ttl' must be between 300s and 3600s/],
  [{ ttl: "3601s" }, /'ttl' must be between/],
  [{ ttl: "900" }, /'ttl' is not a duration/],
  [{ ttl: 900 }, /'ttl' is not a duration/],
  [{ ttl: "" }, /'ttl' is not a duration/],
  [{ expire_time: "2026-01-01T00:10:00Z" }, 600],
  [{ expire_time: "2026-01-01T01:00:02Z" }, 3600],
  [{ expire_time: "2026-01-01T02:00:00Z" }, /'expire_time' must be between/],
  [{ expire_time: "2025-01-01T00:00:00Z" }, /'expire_time' must be between/],
  [{ expire_time: "soon" }, /'expire_time' is not a timestamp/],
  [{ ttl: null, expire_time: null, group_name: null, claims: null }, 3600],
  [{ ttl: "900s", expire_time: null }, 900],
  [{ ttl: null, expire_time: "2026-01-01T00:10:00Z" }, 600],
  [{ ttl: "900s", expire_time: "2026-01-01T00:10:00Z" }, /Only one of/],
];

for (const [request, expected] of lifetimes) {
  Deno.test(`readCredentialRequest() of ${JSON.stringify(request)} gives ${expected}`, () => {
    const read = () => (readCredentialRequest({ endpoint, ...request }, NOW).expiresAt - NOW) / 1000;
    if (typeof expected === "number") return assert.equal(read(), expected);
    assert.throws(read, (error) => {
      assert(error instanceof ApiError);
      assert.equal(error.status, 400);
      assert.equal(error.errorCode, "INVALID_PARAMETER_VALUE");
      assert.match(error.message, expected);
      return true;
    });
  });
}

Deno.test("readCredentialRequest() requires an object with an endpoint", () => {
  const required = /Field 'endpoint' is required, expected non-default value \(not ""\)!/;
  for (const body of [{}, { endpoint: "" }, { endpoint: 5 }]) {
    assert.throws(() => readCredentialRequest(body, NOW), required);
  }
  for (const body of [null, [], "text"]) {
    assert.throws(() => readCredentialRequest(body, NOW), /not a JSON object/);
  }
});

Deno.test("readCredentialRequest() reads groups and claims", () => {
  const readOnly = [{ permission_set: "READ_ONLY", resources: [{ table_name: "c.s.t" }] }];
  const request = readCredentialRequest({ endpoint, group_name: "analysts", claims: readOnly }, NOW);
  assert.equal(request.groupName, "analysts");
  assert.equal(request.readOnly, true);
  assert.equal(readCredentialRequest({ endpoint, claims: [] }, NOW).readOnly, false);
  assert.throws(() => readCredentialRequest({ endpoint, claims: "all" }, NOW), /'claims' must be a list/);
  assert.throws(() => readCredentialRequest({ endpoint, group_name: 1 }, NOW), /'group_name' must be a string/);
});

const CLAIMS: Claims = { role: "you@example.com", endpoints: ["e"], issuedAt: 500, expiresAt: 61_000, readOnly: false };

Deno.test("a credential is a JWT of its issuer's key, and valid until it expires", async () => {
  const issuer = await CredentialIssuer.create("here");
  const token = await issuer.mint(CLAIMS);
  const [header, payload, signature] = token.split(".") as [string, string, string];
  const text = (part: string) => new TextDecoder().decode(Uint8Array.fromBase64(part, { alphabet: "base64url" }));
  assert.equal(JSON.parse(text(header)).alg, "ES256");
  assert.deepEqual(JSON.parse(text(payload)).exp, 61);
  assert.deepEqual(await issuer.verify(token, new Date(60_999)), CLAIMS);
  assert.equal(await issuer.verify(token, new Date(61_000)), "expired");

  const part = (value: object) => new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url" });
  const all = part({ ...JSON.parse(text(payload)), sub: "postgres" }).replaceAll("=", "");
  const none = part({ alg: "none", typ: "JWT" }).replaceAll("=", "");
  const others = await (await CredentialIssuer.create("here")).mint(CLAIMS);
  const refused: [string, string][] = [
    [`${header}.${all}.${signature}`, "other issuer or signature"],
    [`${none}.${payload}.${signature}`, "other issuer or signature"],
    [`${header}.${payload}.A`, "other issuer or signature"],
    [others, "other issuer or signature"],
    [`${header}.${payload}.`, "not a JWT"],
    [`${header}.${payload}`, "not a JWT"],
    [`${token}\n`, "not a JWT"],
    ["dapi123", "not a JWT"],
  ];
  for (const [text, reason] of refused) assert.equal(await issuer.verify(text, new Date(0)), reason, text);
});
