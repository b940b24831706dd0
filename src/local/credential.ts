import { type CryptoKey, generateKeyPair, type JWTPayload, jwtVerify, SignJWT } from "npm:jose@^6.2.0";

/** What a database credential says. */
export interface Claims {
  /** The Postgres role that it logs in. */
  role: string;
  /** Full names of the endpoints, or names of the instances, that it opens; empty for all of them. */
  endpoints: string[];
  /** Milliseconds of the epoch. */
  issuedAt: number;
  /** Milliseconds of the epoch; a token tells it in whole seconds. */
  expiresAt: number;
  /** Whether only reading is allowed (`permission_set: READ_ONLY`). */
  readOnly: boolean;
}

/** Why a password is no credential. */
export type Refusal = "not a JWT" | "expired" | "not ours";

/** Mints and checks the credentials that open the Postgres port. */
export class CredentialIssuer {
  readonly #keys: Promise<{ publicKey: CryptoKey; privateKey: CryptoKey }> = generateKeyPair("ES256");
  readonly #issuer: string;

  /** `issuer` is the workspace's address; a credential of another workspace doesn't open this one. */
  constructor(issuer: string) {
    this.#issuer = issuer;
  }

  /** A signed token that carries the claims. */
  async mint(claims: Claims): Promise<string> {
    const { privateKey } = await this.#keys;
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

  /** The claims of a token as of `now`, or why it is refused. */
  async verify(token: string, now: Date): Promise<Claims | Refusal> {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return "not a JWT";
    const { publicKey } = await this.#keys;
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
