import { ApiError, invalid } from "./api_error.ts";

/** The claims of a database credential. */
export interface Claims {
  /** The Postgres role that the credential is for. */
  role: string;
  /** Full names of the endpoints, or names of the instances, that the credential is valid for; empty for all. */
  endpoints: string[];
  /** Milliseconds since the epoch. */
  issuedAt: number;
  /** Milliseconds since the epoch; the token has whole seconds. */
  expiresAt: number;
  /** Whether the credential only allows reading (`permission_set: READ_ONLY`). */
  readOnly: boolean;
}

/** Why a password is not a valid credential. */
export type Refusal = "not a JWT" | "expired" | "not ours";

/** ECDSA on P-256 with SHA-256, which JWTs call ES256. */
const ES256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const URL_SAFE = { alphabet: "base64url", omitPadding: true } as const;
const HEADER = encoded({ alg: "ES256", typ: "JWT", kid: "local" });

/** Mints and verifies the credentials for the Postgres port. They are JWTs, as those of a workspace are. */
export class CredentialIssuer {
  readonly #keys: CryptoKeyPair;
  readonly #issuer: string;

  private constructor(issuer: string, keys: CryptoKeyPair) {
    this.#issuer = issuer;
    this.#keys = keys;
  }

  /** `issuer` names the workspace; credentials of other issuers are refused. */
  static async create(issuer: string): Promise<CredentialIssuer> {
    return new CredentialIssuer(issuer, await crypto.subtle.generateKey(ES256, false, ["sign", "verify"]));
  }

  /** A signed token with the claims. */
  async mint({ role, endpoints, issuedAt, expiresAt, readOnly }: Claims): Promise<string> {
    const signed = `${HEADER}.${
      encoded({
        ...{ endpoints, scope: readOnly ? "read" : "all", typ: "database" },
        ...{ iss: this.#issuer, sub: role, jti: crypto.randomUUID() },
        ...{ iat: issuedAt / 1000, exp: Math.floor(expiresAt / 1000) },
      })
    }`;
    const signature = await crypto.subtle.sign(ES256, this.#keys.privateKey, new TextEncoder().encode(signed));
    return `${signed}.${new Uint8Array(signature).toBase64(URL_SAFE)}`;
  }

  /** The claims of a token at the time `now`, or the reason why it is refused. */
  async verify(token: string, now: Date): Promise<Claims | Refusal> {
    const [, signed, payload, signature] = /^([\w-]+\.([\w-]+))\.([\w-]+)$/.exec(token) ?? [];
    if (signed === undefined) return "not a JWT";
    if (!await this.#signed(signed, signature!)) return "not ours";
    // With this key only `mint` signs, so the payload has its fields.
    const { iss, sub, endpoints, iat, exp, scope } = decoded(payload!);
    if (iss !== this.#issuer) return "not ours";
    if (exp * 1000 <= now.getTime()) return "expired";
    return {
      role: sub,
      endpoints,
      issuedAt: Math.round(iat * 1000),
      expiresAt: exp * 1000,
      readOnly: scope === "read",
    };
  }

  async #signed(text: string, signature: string): Promise<boolean> {
    try {
      const bytes = Uint8Array.fromBase64(signature, URL_SAFE);
      return await crypto.subtle.verify(ES256, this.#keys.publicKey, bytes, new TextEncoder().encode(text));
    } catch {
      return false; // it is not base64
    }
  }
}

/** What {@linkcode CredentialIssuer} puts into a token. */
interface Payload {
  iss: string;
  /** The role. */
  sub: string;
  endpoints: string[];
  scope: "read" | "all";
  /** Seconds since the epoch. */
  iat: number;
  /** Seconds since the epoch. */
  exp: number;
}

function encoded(part: object): string {
  return new TextEncoder().encode(JSON.stringify(part)).toBase64(URL_SAFE);
}

function decoded(payload: string): Payload {
  return JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(payload, URL_SAFE)));
}

/** The body of `POST /api/2.0/postgres/credentials`. */
export interface CredentialRequest {
  endpoint: string;
  groupName: string | undefined;
  readOnly: boolean;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

const MIN_TTL = 300_000;
const MAX_TTL = 3_600_000;

/**
 * Reads the body of `POST /api/2.0/postgres/credentials` at the time `now`, in milliseconds since the epoch.
 *
 * @throws {ApiError} 400 if a field is missing or out of range.
 */
export function readCredentialRequest(body: unknown, now: number): CredentialRequest {
  const fields = withoutNulls(record(body));
  const { endpoint, group_name: groupName } = fields;
  if (typeof endpoint !== "string" || !endpoint) {
    throw invalid(`Field 'endpoint' is required, expected non-default value (not "")!`);
  }
  if (groupName !== undefined && typeof groupName !== "string") throw invalid("Field 'group_name' must be a string");
  return {
    endpoint,
    groupName: groupName || undefined,
    readOnly: readsOnly(fields["claims"]),
    expiresAt: expiry(fields, now),
  };
}

/**
 * Whether there are claims and all of them are `READ_ONLY`.
 *
 * @throws {ApiError} 400 if the claims are not a list of objects.
 */
export function readsOnly(claims: unknown): boolean {
  if (claims === undefined || claims === null) return false;
  if (!Array.isArray(claims)) throw invalid("Field 'claims' must be a list");
  return claims.length > 0 && claims.every((claim) => record(claim)["permission_set"] === "READ_ONLY");
}

/** The fields of a JSON object. Throws an {@linkcode ApiError} 400 for any other value. */
export function record(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ApiError(400, "MALFORMED_REQUEST", "Request body is not a JSON object");
}

/** The fields that are not null: in protobuf's JSON, null means that a field is not set. */
function withoutNulls(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function expiry({ ttl, expire_time: expireTime }: Record<string, unknown>, now: number): number {
  if (ttl !== undefined && expireTime !== undefined) throw invalid("Only one of 'ttl' and 'expire_time' may be given");
  if (ttl !== undefined) return now + within("ttl", readDuration("ttl", ttl));
  if (expireTime === undefined) return now + MAX_TTL;
  const at = typeof expireTime === "string" ? Date.parse(expireTime) : NaN;
  if (Number.isNaN(at)) throw invalid("Field 'expire_time' is not a timestamp");
  return now + within("expire_time", at - now);
}

/**
 * Milliseconds of a protobuf Duration such as "900s".
 *
 * @throws {ApiError} 400, with the field's name, if the value is none.
 */
export function readDuration(field: string, value: unknown): number {
  const seconds = typeof value === "string" ? /^(\d+(?:\.\d+)?)s$/.exec(value)?.[1] : undefined;
  if (!seconds) throw invalid(`Field '${field}' is not a duration such as "900s"`);
  return Number(seconds) * 1000;
}

function within(field: string, lifetime: number): number {
  // A client computed its expire_time a moment ago, on a clock that may differ a little.
  const slack = field === "ttl" ? 0 : 5_000;
  if (lifetime >= MIN_TTL - slack && lifetime <= MAX_TTL + slack) return Math.min(lifetime, MAX_TTL);
  throw invalid(`Field '${field}' must be between 300s and 3600s from now`);
}
