import { keepSecret } from "../core/redact.ts";
import type { WorkspaceClientLike } from "../settings/options.ts";
import type { WorkspaceLogin } from "../settings/workspace.ts";
import { METADATA_SERVICE, send } from "./http.ts";

/**
 * A client for a service principal of Databricks with a secret; `undefined` for another login method.
 *
 * The SDK is not used, because its token exchange follows redirects with the secret, and quotes an answer that it does
 * not understand, even if the answer contains a token.
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
  throw new Error(
    "the workspace names another server for the exchange of the client secret, and the secret stays here",
  );
}

/** The servers of one cloud of Azure. */
interface AzureCloud {
  /** The server that exchanges a client secret for a token. */
  login: string;
  /** The audience of a token for the management of the cloud. */
  management: string;
  /** The server that knows the address of a workspace by its resource id. */
  resources: string;
  /** The service that gives a machine the tokens of its managed identity. */
  metadata: string;
}

const METADATA = `http://${METADATA_SERVICE}`;

/** The clouds by `ARM_ENVIRONMENT`. */
const CLOUDS: Readonly<Record<string, AzureCloud>> = {
  PUBLIC: {
    login: "https://login.microsoftonline.com",
    management: "https://management.core.windows.net/",
    resources: "https://management.azure.com",
    metadata: METADATA,
  },
  USGOVERNMENT: {
    login: "https://login.microsoftonline.us",
    management: "https://management.core.usgovcloudapi.net/",
    resources: "https://management.usgovcloudapi.net",
    metadata: METADATA,
  },
  CHINA: {
    login: "https://login.chinacloudapi.cn",
    management: "https://management.core.chinacloudapi.cn/",
    resources: "https://management.chinacloudapi.cn",
    metadata: METADATA,
  },
};

const AZURE_HOST = /\.(databricks\.azure\.us|databricks\.azure\.cn|azuredatabricks\.net)$/;
/** The application id of Azure Databricks. */
const APPLICATION = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
/** The header that tells Azure Databricks the workspace of a login that is not a member of it yet. */
export const RESOURCE_ID_HEADER = "X-Databricks-Azure-Workspace-Resource-Id";

/**
 * A client for a service principal of Azure with a secret, or for the managed identity of the machine; `undefined` for another
 * login method. The SDK is not used, because its requests follow redirects with the secret or the token.
 *
 * @param login The workspace by its address or its resource id, and the login.
 * @param clouds The servers of Microsoft.
 */
export function azureClient(login: WorkspaceLogin, clouds = CLOUDS): WorkspaceClientLike | undefined {
  const { workspaceId, attributes } = login;
  const resourceId = attributes["azureWorkspaceResourceId"];
  const method = login.host === undefined && !resourceId ? undefined : methodOf(attributes);
  if (method === undefined) return undefined;
  if (login.host !== undefined && !resourceId && !AZURE_HOST.test(new URL(login.host).hostname)) return undefined;
  const environment = (attributes["azureEnvironment"] ?? "PUBLIC").toUpperCase();
  const cloud = clouds[environment];
  if (cloud === undefined) {
    throw new Error(`ARM_ENVIRONMENT is ${environment}; it must be ${Object.keys(clouds).join(" or ")}`);
  }
  const tokenFor = (resource: string) => cachedToken(() => method(cloud, attributes, resource));
  const own = tokenFor(attributes["azureLoginAppId"] ?? APPLICATION);
  const management = tokenFor(cloud.management);
  let host = login.host === undefined ? undefined : Promise.resolve(new URL(login.host));
  const getHost = () =>
    host ??= workspaceAddress(cloud, resourceId!, tokenFor(`${cloud.resources}/`)).catch((error) => {
      host = undefined;
      throw error;
    });
  const authenticate = async (headers: Headers) => {
    const [token, other] = await Promise.all([own(), management()]);
    headers.set("Authorization", `Bearer ${token}`);
    headers.set("X-Databricks-Azure-SP-Management-Token", other);
    if (resourceId) headers.set(RESOURCE_ID_HEADER, resourceId);
  };
  return { config: { getHost, authenticate, workspaceId } };
}

type Attributes = WorkspaceLogin["attributes"];
type Method = (cloud: AzureCloud, attributes: Attributes, resource: string) => Promise<Token>;

function methodOf(attributes: Attributes): Method | undefined {
  const { authType, azureUseMsi, azureClientId, azureClientSecret, azureTenantId } = attributes;
  const chosen = (name: string) => authType === undefined || authType === name;
  if (/^(1|t|true|yes|on)$/i.test(azureUseMsi ?? "") && chosen("azure-msi")) return identityToken;
  return azureClientId && azureClientSecret && azureTenantId && chosen("azure-client-secret") ? secretToken : undefined;
}

async function secretToken({ login }: AzureCloud, attributes: Attributes, resource: string): Promise<Token> {
  const { azureClientId: clientId, azureClientSecret: clientSecret, azureTenantId: tenant } = attributes;
  const url = new URL(`${login}/${encodeURIComponent(tenant!)}/oauth2/token`);
  return await exchangeSecret(url, { clientId: clientId!, clientSecret: clientSecret! }, { resource });
}

/** See "How to use managed identities for Azure resources on an Azure VM to acquire an access token" of Microsoft. */
async function identityToken({ metadata }: AzureCloud, attributes: Attributes, resource: string): Promise<Token> {
  const url = new URL(`${metadata}/metadata/identity/oauth2/token`);
  const { azureClientId } = attributes;
  const parameters = { "api-version": "2018-02-01", resource, ...(azureClientId ? { client_id: azureClientId } : {}) };
  url.search = new URLSearchParams(parameters).toString();
  const what = `the request to ${url.hostname} for the token of the managed identity (ARM_USE_MSI)`;
  return await askForToken(what, url, { headers: { metadata: "true" } }).catch((cause) => {
    if (!(cause instanceof TypeError) && (cause as Error).name !== "TimeoutError") throw cause;
    throw new Error(`${what} was not answered; is this a machine of Azure?`, { cause });
  });
}

/** Asks Azure for the address of the workspace that has a resource id. */
async function workspaceAddress({ resources }: AzureCloud, resourceId: string, token: TokenSource): Promise<URL> {
  if (!/^\/subscriptions\/[\w./-]+$/i.test(resourceId)) {
    throw new Error("DATABRICKS_AZURE_RESOURCE_ID must be /subscriptions/.../workspaces/...");
  }
  const url = new URL(`${resources}${resourceId}?api-version=2018-04-01`);
  const found = await getObject(url, { authorization: `Bearer ${await token()}` });
  const { workspaceUrl } = (found?.["properties"] ?? {}) as { workspaceUrl?: unknown };
  if (typeof workspaceUrl === "string" && AZURE_HOST.test(workspaceUrl)) return new URL(`https://${workspaceUrl}`);
  throw new Error(
    "Azure gives no address for the workspace in DATABRICKS_AZURE_RESOURCE_ID; set DATABRICKS_HOST, or give the login " +
      "the right to read the workspace",
  );
}

/** How long before its end a token is renewed: Databricks refuses tokens that end within 30 seconds. */
const MARGIN_MS = 40_000;

/** The limit of a request for a token. A service that gives out tokens answers within seconds. */
const LIMIT_MS = 15_000;

/** A token for a login to the workspace. */
interface Token {
  /** The token. */
  text: string;
  /** When it has to be renewed, in milliseconds since 1970. */
  until: number;
}

/** A function that gives a valid token. */
type TokenSource = () => Promise<string>;

/** Caches a token as long as it is valid. Callers that wait for a token share one request. */
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

/** An id and its secret, which are exchanged for a token. */
interface ClientSecret {
  clientId: string;
  clientSecret: string;
}

/**
 * Exchanges a client secret for a token.
 *
 * @param url The address of the exchange.
 * @param parameters What the token is for, as parameters of the request.
 */
async function exchangeSecret(
  url: URL,
  { clientId, clientSecret }: ClientSecret,
  parameters: Record<string, string>,
): Promise<Token> {
  return await askForToken("the exchange of the client secret for a token", url, {
    method: "POST",
    headers: {
      accept: "application/json",
      authorization: `Basic ${base64(`${clientId}:${clientSecret}`)}`,
      "content-type": "application/x-www-form-urlencoded",
    },
    body: new URLSearchParams({ ...parameters, grant_type: "client_credentials" }).toString(),
  });
}

/**
 * Asks for a token.
 *
 * @param what The request, as its error names it. The error does not quote the answer, because the answer may contain
 * the token.
 */
async function askForToken(what: string, url: URL, init: RequestInit): Promise<Token> {
  const { response, text } = await send(url, { ...init, signal: AbortSignal.timeout(LIMIT_MS) });
  const { access_token: token, expires_in: life, error } = parseObject(text) ?? {};
  if (!response.ok || typeof token !== "string" || token === "") {
    const said = typeof error === "string" && /^\w{1,60}$/.test(error) ? `, ${error}` : "";
    throw new Error(`${what} was answered ${response.status}${said}`);
  }
  keepSecret(token);
  const seconds = Number(life);
  return { text: token, until: Date.now() + (Number.isFinite(seconds) ? seconds * 1000 - MARGIN_MS : 0) };
}

/** Gets a JSON object; `undefined` for any other answer. */
async function getObject(
  url: URL,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown> | undefined> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const { response, text } = await send(url, { headers: { accept: "application/json", ...headers }, signal });
  return response.status === 200 ? parseObject(text) : undefined;
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
