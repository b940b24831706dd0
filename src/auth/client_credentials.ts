import { keepSecret } from "../core/redact.ts";
import type { WorkspaceClientLike } from "../settings/options.ts";
import type { WorkspaceLogin } from "../settings/workspace.ts";
import { send } from "./http.ts";

/** A token is renewed this long before its end: Databricks refuses tokens that end within 30 seconds. */
const MARGIN_MS = 40_000;

interface Token {
  text: string;
  until: number;
}

type TokenSource = () => Promise<string>;

/**
 * A client for a service principal with a secret, of Databricks or of Azure; `undefined` for another login method.
 *
 * The SDK is not used, because its exchange of the secret for a token follows redirects with the secret, and quotes an answer
 * that it does not understand, including a token.
 */
export function clientCredentialsClient(login: WorkspaceLogin): WorkspaceClientLike | undefined {
  const { host, workspaceId, attributes } = login;
  if (host === undefined) return undefined;
  const authenticate = databricksLogin(host, attributes) ?? azureLogin(host, attributes);
  if (authenticate === undefined) return undefined;
  return { config: { getHost: () => Promise.resolve(new URL(host)), authenticate, workspaceId } };
}

type Authenticate = (headers: Headers) => Promise<void>;

/** Attributes of other login methods: with one of them and no method chosen by name, the SDK refuses the login. */
const DATABRICKS_OTHERS = ["token", "password", "azureClientSecret", "googleCredentials"];
const AZURE_OTHERS = ["token", "password", "clientSecret", "googleCredentials"];

function isChosen(method: string, login: WorkspaceLogin["attributes"], others: readonly string[]): boolean {
  const { authType } = login;
  return authType === undefined ? others.every((name) => login[name] === undefined) : authType === method;
}

function databricksLogin(host: string, login: WorkspaceLogin["attributes"]): Authenticate | undefined {
  const { clientId, clientSecret } = login;
  if (!clientId || !clientSecret || !isChosen("oauth-m2m", login, DATABRICKS_OTHERS)) return undefined;
  const source = cachedToken(async () => {
    const url = await tokenEndpoint(host, login["accountId"]);
    return await exchange(url, { clientId, clientSecret }, { scope: "all-apis" });
  });
  return async (headers) => headers.set("Authorization", `Bearer ${await source()}`);
}

const AZURE_HOST = /\.(databricks\.azure\.us|databricks\.azure\.cn|azuredatabricks\.net)$/;
/** The clouds of Azure by `ARM_ENVIRONMENT`: the login server and the resource of the management API. */
const AZURE_CLOUDS: Readonly<Record<string, readonly [authority: string, management: string]>> = {
  PUBLIC: ["https://login.microsoftonline.com", "https://management.core.windows.net/"],
  USGOVERNMENT: ["https://login.microsoftonline.us", "https://management.core.usgovcloudapi.net/"],
  CHINA: ["https://login.chinacloudapi.cn", "https://management.core.chinacloudapi.cn/"],
};
/** The application id of Azure Databricks. */
const AZURE_APP = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";

function azureLogin(host: string, login: WorkspaceLogin["attributes"]): Authenticate | undefined {
  const { azureClientId: clientId, azureClientSecret: clientSecret, azureTenantId: tenant } = login;
  const resourceId = login["azureWorkspaceResourceId"];
  if (!clientId || !clientSecret || !tenant || !AZURE_HOST.test(new URL(host).hostname)) return;
  if (!isChosen("azure-client-secret", login, AZURE_OTHERS)) return;
  if (login["azureUseMsi"]) return;
  const cloud = AZURE_CLOUDS[(login["azureEnvironment"] ?? "PUBLIC").toUpperCase()];
  if (cloud === undefined) return;
  const url = new URL(`${cloud[0]}/${encodeURIComponent(tenant)}/oauth2/token`);
  const tokenFor = (resource: string) => cachedToken(() => exchange(url, { clientId, clientSecret }, { resource }));
  const databricks = tokenFor(login["azureLoginAppId"] ?? AZURE_APP);
  const management = tokenFor(cloud[1]);
  return async (headers) => {
    const [own, other] = await Promise.all([databricks(), management()]);
    headers.set("Authorization", `Bearer ${own}`);
    headers.set("X-Databricks-Azure-SP-Management-Token", other);
    if (resourceId) headers.set("X-Databricks-Azure-Workspace-Resource-Id", resourceId);
  };
}

/** Caches a token while it is valid. Callers that wait for one share a request. */
function cachedToken(ask: () => Promise<Token>): TokenSource {
  let token: Token | undefined;
  let asking: Promise<Token> | undefined;
  return async () => {
    if (token !== undefined && token.until > Date.now()) return token.text;
    asking ??= ask().finally(() => asking = undefined);
    token = await asking;
    return token.text;
  };
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

async function getObject(url: URL): Promise<Record<string, unknown> | undefined> {
  const { response, text } = await send(url, { headers: { accept: "application/json" } });
  return response.status === 200 ? parseObject(text) : undefined;
}

async function exchange(
  url: URL,
  { clientId, clientSecret }: { clientId: string; clientSecret: string },
  wish: Record<string, string>,
): Promise<Token> {
  const { response, text } = await send(url, {
    method: "POST",
    headers: {
      accept: "application/json",
      authorization: `Basic ${base64(`${clientId}:${clientSecret}`)}`,
      "content-type": "application/x-www-form-urlencoded",
    },
    body: new URLSearchParams({ ...wish, grant_type: "client_credentials" }).toString(),
  });
  const answer = parseObject(text);
  const { access_token: token, expires_in: life, error } = answer ?? {};
  if (!response.ok || typeof token !== "string" || token === "") {
    const said = typeof error === "string" && /^\w{1,60}$/.test(error) ? `, ${error}` : "";
    throw new Error(`the exchange of the client secret for a token was answered ${response.status}${said}`);
  }
  keepSecret(token);
  const seconds = Number(life);
  return { text: token, until: Date.now() + (Number.isFinite(seconds) ? seconds * 1000 - MARGIN_MS : 0) };
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch {
    return undefined;
  }
}
