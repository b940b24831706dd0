import { loadModule } from "../core/lazy_import.ts";
import type { WorkspaceClient as SdkWorkspaceClient } from "npm:@databricks/sdk-experimental@0.17.0";
import { keepSecret } from "../core/redact.ts";
import type { WorkspaceClientLike } from "../settings/options.ts";
import { quotedName } from "../settings/read_option.ts";
import { loginMethods, type WorkspaceLogin } from "../settings/workspace.ts";
import { METADATA_SERVICE, send } from "./http.ts";
import { parseObject } from "./workspace_request.ts";

/**
 * Makes the client of a login: one of our own for service principals and managed identities, or else one of the SDK.
 *
 * @param login The login; without it, the SDK finds none.
 * @throws {Error} For several logins, for an unknown login method, and for a login that a library would send to the target of a redirect.
 */
export async function loginClient(login: WorkspaceLogin | undefined): Promise<WorkspaceClientLike> {
  if (login !== undefined) checkLogin(login);
  const client = login === undefined ? undefined : clientCredentialsClient(login) ?? azureClient(login);
  if (client !== undefined) return client;
  const { WorkspaceClient } = await loadModule(() => import("npm:@databricks/sdk-experimental@0.17.0"));
  const sdkClient = new WorkspaceClient(sdkOptions(login));
  const resourceId = login?.attributes["azureWorkspaceResourceId"];
  return resourceId === undefined ? sdkClient : withResourceId(sdkClient, resourceId);
}

/** The login methods of the SDK that this module allows, which exclude Google's. */
const AUTH_TYPES: readonly string[] = [
  ...["pat", "basic", "oauth-m2m", "databricks-cli", "metadata-service"],
  ...["azure-cli", "azure-client-secret", "azure-msi"],
];

function checkLogin({ attributes, host }: WorkspaceLogin): void {
  const { authType } = attributes;
  const methods = loginMethods(attributes);
  if (authType === undefined && methods.size > 1) {
    const listed = [...methods].map(([method, variables]) => `${method} (${variables.join(", ")})`);
    throw new Error(
      `several login methods are set, ${listed.join(" and ")}; keep one, or choose one with DATABRICKS_AUTH_TYPE`,
    );
  }
  if (authType?.startsWith("google") ?? methods.has("google")) {
    throw new Error(
      "this module does not use a Google login (GOOGLE_CREDENTIALS, DATABRICKS_GOOGLE_SERVICE_ACCOUNT), because Google's " +
        "library sends it to the target of a redirect. Use a service principal (DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET), or " +
        "pass a client of your own: connect({ workspace: new WorkspaceClient(...) })",
    );
  }
  if (authType !== undefined && !AUTH_TYPES.includes(authType)) {
    throw new Error(
      `DATABRICKS_AUTH_TYPE (auth_type) is ${quotedName(authType)}; leave it out, or use one of ${
        AUTH_TYPES.join(", ")
      }`,
    );
  }
  const { azureWorkspaceResourceId: resourceId, azureUseMsi, azureClientSecret } = attributes;
  if (host === undefined && resourceId !== undefined && !azureUseMsi && !azureClientSecret) {
    throw new Error(
      "DATABRICKS_AZURE_RESOURCE_ID names the workspace, but a login of az needs its address in DATABRICKS_HOST",
    );
  }
}

/**
 * The attributes that are passed to the SDK. They exclude logins that the SDK itself sends, because its requests follow
 * redirects.
 */
const SDK_ATTRIBUTES: readonly string[] = [
  "authType",
  "accountId",
  "token",
  "username",
  "password",
  "databricksCliPath",
  "metadataServiceUrl",
  "azureEnvironment",
  "azureLoginAppId",
];

/** Passes all settings explicitly, so that the SDK reads neither the environment nor files. */
function sdkOptions(login: WorkspaceLogin | undefined): ConstructorParameters<typeof SdkWorkspaceClient>[0] {
  const { host, workspaceId, profile, attributes = {} } = login ?? {};
  const sdkAttributes = Object.fromEntries(
    Object.entries(attributes).filter(([name]) => SDK_ATTRIBUTES.includes(name)),
  );
  return {
    ...sdkAttributes,
    ...(host === undefined ? {} : { host }),
    ...(workspaceId === undefined ? {} : { workspaceId }),
    ...(profile === undefined ? {} : { profile }),
    ...(isOn(attributes["experimentalIsUnifiedHost"]) ? { experimentalIsUnifiedHost: true } : {}),
    env: {},
    loaders: [],
    skipVerify: false,
  } as ConstructorParameters<typeof SdkWorkspaceClient>[0];
}

/**
 * Adds the header with the resource id to a login of `az`. An SDK that knew the id would send the login to Microsoft,
 * and follow redirects.
 */
function withResourceId(client: SdkWorkspaceClient, resourceId: string): WorkspaceClientLike {
  const { config } = client;
  const authenticate = async (headers: Headers) => {
    await config.authenticate(headers);
    if (config.authType === "azure-cli") headers.set(RESOURCE_ID_HEADER, resourceId);
  };
  return { config: { getHost: () => config.getHost(), authenticate, workspaceId: config.workspaceId } };
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && /^(1|t|true|yes|on)$/i.test(value);
}

/**
 * A client for a service principal of Databricks with a secret; `undefined` for another login method.
 *
 * The SDK is not used, because its token exchange follows redirects with the secret, and quotes an answer that it does
 * not understand, even if the answer contains a token.
 */
function clientCredentialsClient(
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
  const config = await getObject(new URL("/.well-known/databricks-config", host));
  const oidc = typeof config?.["oidc_endpoint"] === "string" ? config["oidc_endpoint"] : `${host}/oidc`;
  const base = sameOrigin(oidc.replace("{account_id}", accountId ?? ""), host).href.replace(/\/$/, "");
  const endpoints = await getObject(new URL(`${base}/.well-known/oauth-authorization-server`));
  const url = endpoints?.["token_endpoint"];
  if (typeof url !== "string") {
    throw new Error("the workspace does not say where a client secret is exchanged for a token");
  }
  return sameOrigin(url, host);
}

/** Parses an address, and refuses one on another server than the workspace. */
function sameOrigin(text: string, host: string): URL {
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
const APPLICATION_ID = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
/** The header that tells Azure Databricks the workspace of a login that is not a member of it yet. */
const RESOURCE_ID_HEADER = "X-Databricks-Azure-Workspace-Resource-Id";

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
  const requestToken = login.host === undefined && !resourceId ? undefined : azureTokenRequest(attributes);
  if (requestToken === undefined) return undefined;
  if (login.host !== undefined && !resourceId && !AZURE_HOST.test(new URL(login.host).hostname)) return undefined;
  const environment = (attributes["azureEnvironment"] ?? "PUBLIC").toUpperCase();
  const cloud = clouds[environment];
  if (cloud === undefined) {
    throw new Error(`ARM_ENVIRONMENT is ${environment}; it must be ${Object.keys(clouds).join(" or ")}`);
  }
  const tokenFor = (resource: string) => cachedToken(() => requestToken(cloud, attributes, resource));
  const databricks = tokenFor(attributes["azureLoginAppId"] ?? APPLICATION_ID);
  const management = tokenFor(cloud.management);
  let host = login.host === undefined ? undefined : Promise.resolve(new URL(login.host));
  const getHost = () =>
    host ??= workspaceAddress(cloud, resourceId!, tokenFor(`${cloud.resources}/`)).catch((error) => {
      host = undefined;
      throw error;
    });
  const authenticate = async (headers: Headers) => {
    const [token, managementToken] = await Promise.all([databricks(), management()]);
    headers.set("Authorization", `Bearer ${token}`);
    headers.set("X-Databricks-Azure-SP-Management-Token", managementToken);
    if (resourceId) headers.set(RESOURCE_ID_HEADER, resourceId);
  };
  return { config: { getHost, authenticate, workspaceId } };
}

type Attributes = WorkspaceLogin["attributes"];
type TokenRequest = (cloud: AzureCloud, attributes: Attributes, resource: string) => Promise<AccessToken>;

/** The request for the tokens of a login method of Azure; `undefined` for another login method. */
function azureTokenRequest(attributes: Attributes): TokenRequest | undefined {
  const { authType, azureUseMsi, azureClientId, azureClientSecret, azureTenantId } = attributes;
  const isChosen = (name: string) => authType === undefined || authType === name;
  if (isOn(azureUseMsi) && isChosen("azure-msi")) return identityToken;
  return azureClientId && azureClientSecret && azureTenantId && isChosen("azure-client-secret")
    ? secretToken
    : undefined;
}

async function secretToken({ login }: AzureCloud, attributes: Attributes, resource: string): Promise<AccessToken> {
  const { azureClientId: clientId, azureClientSecret: clientSecret, azureTenantId: tenant } = attributes;
  const url = new URL(`${login}/${encodeURIComponent(tenant!)}/oauth2/token`);
  return await exchangeSecret(url, { clientId: clientId!, clientSecret: clientSecret! }, { resource });
}

/** See "How to use managed identities for Azure resources on an Azure VM to acquire an access token" of Microsoft. */
async function identityToken({ metadata }: AzureCloud, attributes: Attributes, resource: string): Promise<AccessToken> {
  const url = new URL(`${metadata}/metadata/identity/oauth2/token`);
  const { azureClientId } = attributes;
  const parameters = { "api-version": "2018-02-01", resource, ...(azureClientId ? { client_id: azureClientId } : {}) };
  url.search = new URLSearchParams(parameters).toString();
  const what = `the request to ${url.hostname} for the token of the managed identity (ARM_USE_MSI)`;
  return await fetchToken(what, url, { headers: { metadata: "true" } }).catch((cause) => {
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
  const workspace = await getObject(url, { authorization: `Bearer ${await token()}` });
  const { workspaceUrl } = (workspace?.["properties"] ?? {}) as { workspaceUrl?: unknown };
  if (typeof workspaceUrl === "string" && AZURE_HOST.test(workspaceUrl)) return new URL(`https://${workspaceUrl}`);
  throw new Error(
    "Azure gives no address for the workspace in DATABRICKS_AZURE_RESOURCE_ID; set DATABRICKS_HOST, or give the login " +
      "the right to read the workspace",
  );
}

/** How long before its expiry a token is renewed: Databricks refuses tokens that expire within 30 seconds. */
const RENEWAL_MARGIN_MS = 40_000;

/** The limit of a request for a token. A service that gives out tokens answers within seconds. */
const LIMIT_MS = 15_000;

/** A token for a login to the workspace. */
interface AccessToken {
  /** The token. */
  text: string;
  /** When it has to be renewed, in milliseconds since 1970. */
  until: number;
}

/** A function that gives a valid token. */
type TokenSource = () => Promise<string>;

/** Caches a token as long as it is valid. Callers that wait for a token share one request. */
function cachedToken(request: () => Promise<AccessToken>): TokenSource {
  let token: AccessToken | undefined;
  let requested: Promise<AccessToken> | undefined;
  return async () => {
    if (token !== undefined && token.until > Date.now()) return token.text;
    requested ??= request().finally(() => requested = undefined);
    token = await requested;
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
): Promise<AccessToken> {
  return await fetchToken("the exchange of the client secret for a token", url, {
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
 * Fetches a token.
 *
 * @param what The request, as its error names it. The error does not quote the answer, because the answer may contain
 * the token.
 */
async function fetchToken(what: string, url: URL, init: RequestInit): Promise<AccessToken> {
  const { response, text } = await send(url, { ...init, signal: AbortSignal.timeout(LIMIT_MS) });
  const { access_token: token, expires_in: lifetime, error } = parseObject(text) ?? {};
  if (!response.ok || typeof token !== "string" || token === "") {
    const code = typeof error === "string" && /^\w{1,60}$/.test(error) ? `, ${error}` : "";
    throw new Error(`${what} was answered ${response.status}${code}`);
  }
  keepSecret(token);
  const seconds = Number(lifetime);
  return { text: token, until: Date.now() + (Number.isFinite(seconds) ? seconds * 1000 - RENEWAL_MARGIN_MS : 0) };
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
