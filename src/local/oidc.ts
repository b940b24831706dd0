import { randomBytes } from "node:crypto";
import { ApiError, bodyText } from "./api_error.ts";

/** A service principal that may log in with OAuth client credentials. */
export interface ServicePrincipal {
  /** The application id, which is also the Postgres role. */
  clientId: string;
  /** The secret of the client id. */
  clientSecret: string;
}

/** A caller of the workspace: a user by email, or a service principal by application id. */
export interface Principal {
  userName: string;
  kind: "user" | "service principal";
}

const LIFETIME = 3600;

/** Identifies callers by bearer token, and issues tokens to service principals. */
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
   * The caller with this `Authorization` header, at a time in milliseconds since the epoch.
   *
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
    const client = basic(request.headers.get("authorization")) ??
      { id: form.get("client_id"), secret: form.get("client_secret") };
    if (form.get("grant_type") !== "client_credentials") return refusal(400, "unsupported_grant_type");
    const known = this.#servicePrincipals.find(({ clientId, clientSecret }) =>
      clientId === client.id && clientSecret === client.secret
    );
    if (!known) return refusal(401, "invalid_client");
    const access_token = `oauth-${randomBytes(32).toString("hex")}`;
    const principal: Principal = { userName: known.clientId, kind: "service principal" };
    this.#issued.set(access_token, { principal, expiresAt: now + LIFETIME * 1000 });
    return Response.json({ access_token, expires_in: LIFETIME, scope: "all-apis", token_type: "Bearer" });
  }
}

/** The OIDC discovery document of the workspace at `origin`. */
export function discovery(origin: string): Record<string, unknown> {
  return {
    issuer: `${origin}/oidc`,
    authorization_endpoint: `${origin}/oidc/v1/authorize`,
    token_endpoint: `${origin}/oidc/v1/token`,
    grant_types_supported: ["client_credentials"],
    token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
  };
}

/** The SCIM resource of a principal. */
export function scim({ userName, kind }: Principal): Record<string, unknown> {
  const person = kind === "user";
  return {
    schemas: [`urn:ietf:params:scim:schemas:core:2.0:${person ? "User" : "ServicePrincipal"}`],
    id: "1000000000000001",
    userName,
    displayName: userName.split("@")[0],
    active: true,
    ...(person ? { emails: [{ type: "work", value: userName, primary: true }] } : { applicationId: userName }),
    groups: [],
  };
}

function basic(authorization: string | null): { id: string; secret: string } | undefined {
  const encoded = /^Basic (\S+)$/i.exec(authorization ?? "")?.[1];
  if (!encoded) return undefined;
  try {
    const [id = "", ...secret] = atob(encoded).split(":");
    return { id: decodeURIComponent(id), secret: decodeURIComponent(secret.join(":")) };
  } catch {
    return { id: "", secret: "" }; // matches no service principal
  }
}

function refusal(status: number, error: string): Response {
  return Response.json({ error, error_description: "Client authentication failed" }, { status });
}
