import { CredentialCache, mintCredential } from "../auth/credential.ts";
import { confirmHost, type Endpoint, findEndpoint, isFullName } from "../auth/endpoint.ts";
import { Workspace } from "../auth/workspace.ts";
import { LakebaseError } from "../core/errors.ts";
import { isTraced, traced } from "../core/trace.ts";
import { announceWaiting } from "../draw/notices.ts";
import { LakebasePool } from "../net/pool.ts";
import { tlsOptions } from "../net/tls.ts";
import type { TypeParsers } from "../settings/options.ts";
import type { ReadSettings, WorkspaceSettings } from "../settings/read_settings.ts";
import { isLoopback } from "../settings/server.ts";
import type { Settings } from "../settings/settings.ts";
import { sessionPreparer } from "../sql/server_session.ts";
import { type Checkup, diagnoseSettings } from "./check.ts";
import { Lakebase } from "./lakebase.ts";

/** The parts that a {@linkcode Lakebase} is made from. */
export interface LakebaseParts {
  /** The settings of the connection, from which a connection to a branch is made. */
  read?: ReadSettings;
  /** The pool; it has logged in once. */
  pool: LakebasePool;
  /** The server's host. */
  host: string;
  /** The port. */
  port: number;
  /** The database. */
  database: string;
  /** The role. */
  user: string;
  /** The endpoint; `undefined` if none was looked up. */
  endpoint: Endpoint | undefined;
  /** The OAuth login; `undefined` for a native password. */
  credentials: CredentialCache | undefined;
  /** Whether every transaction is read only. */
  readOnly: boolean;
  /** Parsers that replace the default ones, by type name. */
  types?: TypeParsers | undefined;
  /** Gives the workspace; `undefined` if the settings name none, as with a native password. */
  workspace?: (() => Workspace) | undefined;
  /** The SQL warehouse that the settings name. */
  warehouse?: string | undefined;
  /** Runs each step of connecting separately. */
  check: (volumes: readonly string[]) => Promise<Checkup>;
  /** The facts that the connection's drawing shows first. */
  facts?: () => [name: string, value: string][];
  /** Stops what belongs to the connection, such as a local Lakebase. */
  onClose?: () => Promise<void> | void;
}

/** Opens a connection. */
export async function openConnection(read: ReadSettings): Promise<Lakebase> {
  return new Lakebase(await (isTraced() ? openInSpan(read) : openParts(read)));
}

function openInSpan(read: ReadSettings): Promise<LakebaseParts> {
  const { host: address, port, database: namespace } = read.settings;
  const server = { system: "postgresql" as const, namespace, address, port };
  return traced({ name: "connect", server }, async (span) => {
    const parts = await openParts(read);
    span.setServer(parts.pool.server);
    return parts;
  });
}

/** Finds the server, logs in, wakes the compute, and returns the parts of a new connection. */
export async function openParts(read: ReadSettings): Promise<LakebaseParts> {
  const { settings, warehouse, releaseLocal } = read;
  let opened: Workspace | undefined;
  const workspace = () => opened ??= openWorkspace(settings);
  const { endpoint, host, user, credentials } = await logIn(settings, workspace);
  const { port, database, readOnly, max, idleTimeout, maxLifetime, connectTimeout, statementTimeout, types } = settings;
  const { serverOptions, onConnect } = settings;
  const waiting = announceWaiting(endpoint?.name ?? host, endpoint !== undefined || !isLoopback(host));
  let pool: LakebasePool | undefined;
  try {
    pool = new LakebasePool({
      host,
      port,
      database,
      user,
      native: credentials === undefined,
      credentials,
      password: settings.password,
      max,
      idleTimeout,
      maxLifetime,
      connectTimeout,
      statementTimeout,
      readOnly,
      serverOptions,
      onConnect: onConnect === undefined ? undefined : sessionPreparer(onConnect),
      ssl: await tlsOptions(host, settings.sslMode, settings.ca),
      onWaiting: waiting.failed,
    });
    await pool.open();
    waiting.connected();
    return {
      read,
      pool,
      host,
      port,
      database,
      user,
      endpoint,
      credentials,
      readOnly,
      types,
      workspace: settings.workspace === undefined && settings.login === undefined ? undefined : workspace,
      warehouse,
      check: (volumes) => diagnoseSettings(read, volumes),
      onClose: releaseLocal,
    };
  } catch (error) {
    credentials?.close();
    await pool?.end();
    throw error;
  }
}

/** The endpoint, and how to log in to it. */
interface Login {
  endpoint: Endpoint | undefined;
  host: string;
  user: string;
  credentials: CredentialCache | undefined;
}

/**
 * Asks the workspace for the endpoint, the user and the credential, unless the settings have them. The requests run in
 * parallel.
 */
async function logIn(settings: Settings, openWorkspace: () => Workspace): Promise<Login> {
  const { password, host, user, group, tokenTtl: ttl } = settings;
  if (password !== undefined && host !== undefined && user !== undefined) {
    return { endpoint: undefined, host, user, credentials: undefined };
  }
  const workspace = openWorkspace();
  const isTrusted = settings.unconfirmedHost === undefined;
  const deadline = workspace.deadline();
  const target = isTrusted ? settings : { ...settings, host: undefined };
  const finding = findEndpoint(workspace, target, { deadline }).then((endpoint) => {
    confirmHost(settings, endpoint.host);
    return endpoint;
  });
  const knownTarget = isFullName(settings.endpoint) ? { endpoint: settings.endpoint } : undefined;
  const credentials = password !== undefined ? undefined : new CredentialCache(async (closing) => {
    const target = knownTarget ?? (await finding).target;
    return await mintCredential(workspace, { target, group, ttl }, closing);
  });
  const [foundEndpoint, foundUser, minted] = await Promise.allSettled([
    finding,
    user ?? workspace.currentUser(),
    credentials?.get(),
  ]);
  const failed = [foundEndpoint, foundUser, minted].find((outcome) => outcome.status === "rejected");
  if (failed !== undefined || foundEndpoint.status === "rejected" || foundUser.status === "rejected") {
    credentials?.close();
    throw await explainLogin(failed?.reason, workspace, settings, deadline);
  }
  const endpoint = foundEndpoint.value;
  return { endpoint, host: host ?? endpoint.host!, user: foundUser.value, credentials };
}

/**
 * Looks up the endpoint after its credential was refused. If `host` is given, the endpoint was not looked up before,
 * and looking it up gives the better error for a wrong name.
 */
async function explainLogin(
  error: unknown,
  workspace: Workspace,
  settings: Settings,
  deadline: number,
): Promise<unknown> {
  const missing = error instanceof LakebaseError && error.code === "ENDPOINT_NOT_FOUND";
  if (!missing || settings.host === undefined) return error;
  return await findEndpoint(workspace, { ...settings, host: undefined }, { deadline }).then(
    () => error,
    (betterError) => betterError,
  );
}

/** Makes the workspace of the settings; sends no request. */
export function openWorkspace({ workspace: client, login, connectTimeout }: WorkspaceSettings): Workspace {
  return new Workspace({ client, login, limit: connectTimeout * 1000 });
}
