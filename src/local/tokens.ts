import { randomBytes } from "node:crypto";
import type { ServicePrincipal } from "../core/local_options.ts";
import { ApiError, bodyText } from "./api_json.ts";

/** A caller of the workspace. */
export interface Principal {
  /** The email address of a user, or the application id of a service principal. */
  userName: string;
  kind: "user" | "service principal";
}

/** Seconds for which a service principal's token is valid. */
const TOKEN_LIFETIME = 3600;

/** Identifies callers of the workspace API by their bearer tokens, and issues tokens to service principals. */
export class Identities {
  /** The user's personal access token. */
  readonly token: string = `dapi${randomBytes(16).toString("hex")}`;
  /** Whether {@linkcode Identities.token} is refused. */
  revoked = false;
  readonly #user: string;
  readonly #servicePrincipals: ServicePrincipal[];
  readonly #issued = new Map<string, { principal: Principal; expiresAt: number }>();

  constructor(user: string, servicePrincipals: ServicePrincipal[]) {
    this.#user = user;
    this.#servicePrincipals = servicePrincipals;
  }

  /**
   * Returns the caller with this `Authorization` header.
   *
   * @param now Milliseconds since the epoch.
   * @throws {ApiError} 401 if the token is missing, unknown or expired.
   */
  authenticate(authorization: string | null, now: number): Principal {
    const token = /^Bearer (\S+)$/i.exec(authorization ?? "")?.[1];
    if (!token) {
      throw new ApiError(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API.");
    }
    if (token === this.token && !this.revoked) return { userName: this.#user, kind: "user" };
    const issued = this.#issued.get(token);
    if (issued && issued.expiresAt > now) return issued.principal;
    throw new ApiError(401, "UNAUTHENTICATED", issued ? "Token is expired." : "Invalid access token.");
  }

  /** Answers `POST /oidc/v1/token`. The client's secret is in the form or in a Basic authorization header. */
  async grant(request: Request, now: number): Promise<Response> {
    const form = new URLSearchParams(await bodyText(request));
    const client = basicCredentials(request.headers.get("authorization")) ??
      { id: form.get("client_id"), secret: form.get("client_secret") };
    if (form.get("grant_type") !== "client_credentials") return oauthError(400, "unsupported_grant_type");
    const servicePrincipal = this.#servicePrincipals.find(({ clientId, clientSecret }) =>
      clientId === client.id && clientSecret === client.secret
    );
    if (!servicePrincipal) return oauthError(401, "invalid_client");
    const access_token = `oauth-${randomBytes(32).toString("hex")}`;
    const principal: Principal = { userName: servicePrincipal.clientId, kind: "service principal" };
    this.#issued.set(access_token, { principal, expiresAt: now + TOKEN_LIFETIME * 1000 });
    return Response.json({ access_token, expires_in: TOKEN_LIFETIME, scope: "all-apis", token_type: "Bearer" });
  }
}

/** The OIDC discovery document of the workspace at `origin`. */
export function discoveryDocument(origin: string): Record<string, unknown> {
  return {
    issuer: `${origin}/oidc`,
    authorization_endpoint: `${origin}/oidc/v1/authorize`,
    token_endpoint: `${origin}/oidc/v1/token`,
    grant_types_supported: ["client_credentials"],
    token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
  };
}

/** The SCIM resource of a principal. */
export function scimResource({ userName, kind }: Principal): Record<string, unknown> {
  const isUser = kind === "user";
  return {
    schemas: [`urn:ietf:params:scim:schemas:core:2.0:${isUser ? "User" : "ServicePrincipal"}`],
    id: "1000000000000001",
    userName,
    displayName: userName.split("@")[0],
    active: true,
    ...(isUser ? { emails: [{ type: "work", value: userName, primary: true }] } : { applicationId: userName }),
    groups: [],
  };
}

function basicCredentials(authorization: string | null): { id: string; secret: string } | undefined {
  const encoded = /^Basic (\S+)$/i.exec(authorization ?? "")?.[1];
  if (!encoded) return undefined;
  try {
    const [id = "", ...secret] = atob(encoded).split(":");
    return { id: decodeURIComponent(id), secret: decodeURIComponent(secret.join(":")) };
  } catch {
    return { id: "", secret: "" }; // matches no service principal
  }
}

function oauthError(status: number, error: string): Response {
  return Response.json({ error, error_description: "Client authentication failed" }, { status });
}

/** The claims of a database credential. */
export interface Claims {
  /** The Postgres role that the credential is for. */
  role: string;
  /** Full names of the endpoints or instances that the credential is valid for. */
  endpoints: string[];
  /** Milliseconds since the epoch. */
  issuedAt: number;
  /** Milliseconds since the epoch; the token has whole seconds. */
  expiresAt: number;
  /** Whether the credential only allows reading (`permission_set: READ_ONLY`). */
  readOnly: boolean;
}

/** Why a password is not a valid credential. */
type CredentialProblem = "not a JWT" | "expired" | "other issuer or signature";

/** ECDSA on P-256 with SHA-256, which JWTs call ES256. */
const ES256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const URL_SAFE = { alphabet: "base64url", omitPadding: true } as const;
const HEADER = encodeJson({ alg: "ES256", typ: "JWT", kid: "local" });

/** Mints and verifies credentials for the Postgres port, which are JWTs as in a real workspace. */
export class CredentialIssuer {
  readonly #keys: CryptoKeyPair;
  readonly #issuer: string;

  private constructor(issuer: string, keys: CryptoKeyPair) {
    this.#issuer = issuer;
    this.#keys = keys;
  }

  /** `issuer` names the workspace. Credentials of other issuers are refused. */
  static async create(issuer: string): Promise<CredentialIssuer> {
    return new CredentialIssuer(issuer, await crypto.subtle.generateKey(ES256, false, ["sign", "verify"]));
  }

  /** Makes a signed token with these claims. */
  async mint({ role, endpoints, issuedAt, expiresAt, readOnly }: Claims): Promise<string> {
    const signed = `${HEADER}.${
      encodeJson({
        endpoints,
        scope: readOnly ? "read" : "all",
        typ: "database",
        iss: this.#issuer,
        sub: role,
        jti: crypto.randomUUID(),
        iat: issuedAt / 1000,
        exp: Math.floor(expiresAt / 1000),
      })
    }`;
    const signature = await crypto.subtle.sign(ES256, this.#keys.privateKey, new TextEncoder().encode(signed));
    return `${signed}.${new Uint8Array(signature).toBase64(URL_SAFE)}`;
  }

  /** Returns the claims of a token, or why it is refused at the time `now`. */
  async verify(token: string, now: Date): Promise<Claims | CredentialProblem> {
    const [, signed, payload, signature] = /^([\w-]+\.([\w-]+))\.([\w-]+)$/.exec(token) ?? [];
    if (signed === undefined) return "not a JWT";
    if (!await this.#isSigned(signed, signature!)) return "other issuer or signature";
    // The payload has these fields, because only `mint` signs with this key.
    const { iss, sub, endpoints, iat, exp, scope } = decodePayload(payload!);
    if (iss !== this.#issuer) return "other issuer or signature";
    if (exp * 1000 <= now.getTime()) return "expired";
    return {
      role: sub,
      endpoints,
      issuedAt: Math.round(iat * 1000),
      expiresAt: exp * 1000,
      readOnly: scope === "read",
    };
  }

  async #isSigned(text: string, signature: string): Promise<boolean> {
    try {
      const bytes = Uint8Array.fromBase64(signature, URL_SAFE);
      return await crypto.subtle.verify(ES256, this.#keys.publicKey, bytes, new TextEncoder().encode(text));
    } catch {
      return false; // the signature is not base64
    }
  }
}

/** The payload of a credential. */
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

function encodeJson(value: object): string {
  return new TextEncoder().encode(JSON.stringify(value)).toBase64(URL_SAFE);
}

function decodePayload(payload: string): Payload {
  return JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(payload, URL_SAFE)));
}
