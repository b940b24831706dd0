import type { WorkspaceClientLike } from "../settings/options.ts";
import type { WorkspaceLogin } from "../settings/workspace.ts";
import { cachedToken, exchangeSecret, getObject } from "./token.ts";

/**
 * A client for a service principal of Databricks with a secret; `undefined` for another login method.
 *
 * The SDK is not used, because its exchange of the secret for a token follows redirects with the secret, and quotes an answer
 * that it does not understand, including a token.
 */
export function clientCredentialsClient(
  { host, workspaceId, attributes }: WorkspaceLogin,
): WorkspaceClientLike | undefined {
  const { clientId, clientSecret, authType = "oauth-m2m" } = attributes;
  if (host === undefined || !clientId || !clientSecret || authType !== "oauth-m2m") return undefined;
  const source = cachedToken(async () => {
    const url = await tokenEndpoint(host, attributes["accountId"]);
    return await exchangeSecret(url, { clientId, clientSecret }, { scope: "all-apis" });
  });
  const authenticate = async (headers: Headers) => headers.set("Authorization", `Bearer ${await source()}`);
  return { config: { getHost: () => Promise.resolve(new URL(host)), authenticate, workspaceId } };
}

/** The workspace's token endpoint. The workspace may name any address, but the secret is sent to its own origin only. */
async function tokenEndpoint(host: string, accountId: string | undefined): Promise<URL> {
  const known = await getObject(new URL("/.well-known/databricks-config", host));
  const named = typeof known?.["oidc_endpoint"] === "string" ? known["oidc_endpoint"] : `${host}/oidc`;
  const base = onOrigin(named.replace("{account_id}", accountId ?? ""), host).href.replace(/\/$/, "");
  const endpoints = await getObject(new URL(`${base}/.well-known/oauth-authorization-server`));
  const url = endpoints?.["token_endpoint"];
  if (typeof url !== "string") {
    throw new Error("the workspace does not say where a client secret is exchanged for a token");
  }
  return onOrigin(url, host);
}

function onOrigin(text: string, host: string): URL {
  const url = URL.parse(text);
  if (url?.origin === new URL(host).origin) return url;
  throw new Error("the workspace names another server for the exchange of the client secret, which is not asked");
}
