import { keepSecret } from "../core/redact.ts";
import { send } from "./http.ts";

/** A token is renewed this long before its end: Databricks refuses tokens that end within 30 seconds. */
const MARGIN_MS = 40_000;

/** A service that gives out tokens answers within seconds. */
const LIMIT_MS = 15_000;

/** A token of a workspace's login. */
export interface Token {
  /** The token. */
  text: string;
  /** When it has to be renewed, in milliseconds since 1970. */
  until: number;
}

/** A function that gives a valid token. */
export type TokenSource = () => Promise<string>;

/** Caches a token while it is valid. Callers that wait for one share a request. */
export function cachedToken(ask: () => Promise<Token>): TokenSource {
  let token: Token | undefined;
  let asking: Promise<Token> | undefined;
  return async () => {
    if (token !== undefined && token.until > Date.now()) return token.text;
    asking ??= ask().finally(() => asking = undefined);
    token = await asking;
    return token.text;
  };
}

/** An id and its secret, to be exchanged for a token. */
export interface ClientSecret {
  clientId: string;
  clientSecret: string;
}

/**
 * Exchanges a client secret for a token.
 *
 * @param url The address of the exchange.
 * @param parameters What the token is for, as parameters of the exchange.
 */
export async function exchangeSecret(
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
 * @param what The request, for its error. The answer is not quoted, because it may hold the token.
 */
export async function askForToken(what: string, url: URL, init: RequestInit): Promise<Token> {
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
export async function getObject(
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
