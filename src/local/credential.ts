import { type CryptoKey, generateKeyPair, type JWTPayload, jwtVerify, SignJWT } from "npm:jose@6.2.17";
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

/** Mints and verifies the credentials for the Postgres port. */
export class CredentialIssuer {
  readonly #keys: { publicKey: CryptoKey; privateKey: CryptoKey };
  readonly #issuer: string;

  private constructor(issuer: string, keys: { publicKey: CryptoKey; privateKey: CryptoKey }) {
    this.#issuer = issuer;
    this.#keys = keys;
  }

  /** `issuer` names the workspace; credentials of other issuers are refused. */
  static async create(issuer: string): Promise<CredentialIssuer> {
    return new CredentialIssuer(issuer, await generateKeyPair("ES256"));
  }

  /** A signed token with the claims. */
  async mint(claims: Claims): Promise<string> {
    const { privateKey } = this.#keys;
    const { role, endpoints, issuedAt, expiresAt, readOnly } = claims;
    return await new SignJWT({ endpoints, scope: readOnly ? "read" : "all", typ: "database" })
      .setProtectedHeader({ alg: "ES256", typ: "JWT", kid: "local" })
      .setIssuer(this.#issuer)
      .setSubject(role)
      .setJti(crypto.randomUUID())
      .setIssuedAt(issuedAt / 1000)
      .setExpirationTime(Math.floor(expiresAt / 1000))
      .sign(privateKey);
  }

  /** The claims of a token at the time `now`, or the reason why it is refused. */
  async verify(token: string, now: Date): Promise<Claims | Refusal> {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return "not a JWT";
    const { publicKey } = this.#keys;
    try {
      const { payload } = await jwtVerify(token, publicKey, { currentDate: now, issuer: this.#issuer });
      return claimsOf(payload);
    } catch (error) {
      return (error as { code?: string }).code === "ERR_JWT_EXPIRED" ? "expired" : "not ours";
    }
  }
}

function claimsOf(payload: JWTPayload): Claims {
  return {
    role: payload.sub ?? "",
    endpoints: payload["endpoints"] as string[],
    issuedAt: Math.round((payload.iat ?? 0) * 1000),
    expiresAt: (payload.exp ?? 0) * 1000,
    readOnly: payload["scope"] === "read",
  };
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
