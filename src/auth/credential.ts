import { LakebaseError } from "../errors.ts";
import { keepSecret } from "../redact.ts";
import type { Workspace } from "./workspace.ts";
import type { WorkspaceAnswer } from "./workspace_answer.ts";

/** A password that logs in to one endpoint for a while. */
export interface Credential {
  /** The OAuth token, sent as the password. */
  readonly token: string;
  /** When it was asked for, by this machine's clock, in milliseconds since 1970. */
  readonly mintedAt: number;
  /** How long it logs in, in milliseconds from `mintedAt`. */
  readonly lifetime: number;
  /** Whether `lifetime` is what the workspace said; else it is an assumption, and no refresh is planned on it. */
  readonly lifetimeKnown: boolean;
}

/** Whom a credential is for. */
export interface CredentialRequest {
  /** The endpoint's full name, or the name of a Provisioned instance. */
  target: { endpoint: string } | { instance: string };
  /** The group to log in as. */
  group?: string | undefined;
  /** The wanted life in seconds. */
  ttl?: number | undefined;
}

/** No credential lives longer; what claims to is not believed. */
const LONGEST_LIFE_MS = 3_600_000;
/** What a credential is trusted for when its expiry makes no sense: too short to do harm, too long to loop. */
const ASSUMED_LIFE_MS = 60_000;

/**
 * Asks the workspace for a credential.
 *
 * @throws {LakebaseError} As {@linkcode Workspace.request}; `WORKSPACE_UNAVAILABLE` where the answer holds no token.
 */
export async function mintCredential(
  workspace: Workspace,
  request: CredentialRequest,
  signal?: AbortSignal,
): Promise<Credential> {
  const mintedAt = Date.now();
  const answer = await workspace.request({ method: "POST", ...credentialCall(request) }, signal);
  const { token } = answer.body;
  if (typeof token !== "string" || token === "") {
    throw new LakebaseError("WORKSPACE_UNAVAILABLE", "Cannot log in: the workspace answered without a credential");
  }
  keepSecret(token);
  return { token, mintedAt, ...credentialLifetime(answer, mintedAt) };
}

function credentialCall({ target, group, ttl }: CredentialRequest): { path: string; body: unknown } {
  if ("instance" in target) {
    const body = { instance_names: [target.instance], request_id: crypto.randomUUID() };
    return { path: "/api/2.0/database/credentials", body };
  }
  const body = {
    endpoint: target.endpoint,
    ...(group === undefined ? {} : { group_name: group }),
    ...(ttl === undefined ? {} : { ttl: `${ttl}s` }),
  };
  return { path: "/api/2.0/postgres/credentials", body };
}

/**
 * How long a credential lives. Both ends are read off the server's clock where it sends one, so that a laptop whose
 * clock is ten minutes off neither trusts a dead token nor throws a good one away.
 *
 * @param answer The workspace's answer: `expire_time` (Autoscaling) or `expiration_time` (Provisioned).
 * @param now This machine's clock, in milliseconds since 1970.
 */
export function credentialLifetime(
  { body, serverTime }: WorkspaceAnswer,
  now: number,
): Pick<Credential, "lifetime" | "lifetimeKnown"> {
  const expiry = body["expire_time"] ?? body["expiration_time"];
  const lifetime = typeof expiry === "string" ? Date.parse(expiry) - (serverTime ?? now) : NaN;
  if (Number.isFinite(lifetime) && lifetime > ASSUMED_LIFE_MS) {
    return { lifetime: Math.min(lifetime, LONGEST_LIFE_MS), lifetimeKnown: true };
  }
  return { lifetime: ASSUMED_LIFE_MS, lifetimeKnown: false };
}
