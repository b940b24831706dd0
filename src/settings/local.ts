import { LakebaseError, optionText, quotedOption } from "../core/errors.ts";
import { late } from "../core/late.ts";
import { LOCAL_OPTION_NAMES, type LocalOptions } from "../core/local_options.ts";
import type { ConnectOptions } from "./options.ts";
import { describeOrigin, type Found } from "./origin.ts";
import { badSetting, checkOptionNames, quoted } from "./read_option.ts";
import type { Variables } from "./variables.ts";

/** The variables that name a server elsewhere. */
const SERVERS = ["LAKEBASE_ENDPOINT", "LAKEBASE_INSTANCE", "PGHOST", "DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"];

/**
 * Decides whether to connect to a Lakebase on this machine: by the option `local`, else by `LAKEBASE_LOCAL`.
 *
 * @param options The caller's options.
 * @param variables The environment over `.env`.
 * @returns How to start it, or `undefined` for a workspace.
 * @throws {LakebaseError} `BAD_SETTING`; also where `.env` asks for it while code or the environment names a server.
 */
export function resolveLocal(options: ConnectOptions, variables: Variables): Found<LocalOptions> | undefined {
  const given: unknown = options.local;
  const origin = { source: "option", name: "local" } as const;
  if (given === undefined) return localByVariable(options, variables);
  if (typeof given === "boolean") return given ? { value: {}, origin } : undefined;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const state = `option ${quotedOption("local")} is ${quoted(given)}; it must be true, false or an object`;
    throw badSetting(state, { setting: "local", origin });
  }
  checkOptionNames(given, LOCAL_OPTION_NAMES, "local.");
  return { value: given, origin };
}

function localByVariable(options: ConnectOptions, variables: Variables): Found<LocalOptions> | undefined {
  const found = variables.get("LAKEBASE_LOCAL");
  if (found === undefined || /^(0|false|no|off)$/i.test(found.value)) return undefined;
  const { value, origin } = found;
  const about = { setting: "LAKEBASE_LOCAL", origin };
  if (!/^(1|true|yes|on)$/i.test(value)) {
    throw badSetting(`${describeOrigin(origin)} is ${quoted(value)}; it must be true or false`, about);
  }
  const option = (["endpoint", "instance", "host", "profile", "workspace"] as const)
    .find((name) => options[name] !== undefined);
  const server = option === undefined
    ? SERVERS.map((name) => variables.get(name)?.origin).find((origin) => origin?.source === "environment")
    : { source: "option", name: option } as const;
  if (origin.source === ".env" && server !== undefined) {
    const remedy = `Remove it from the file, or turn .env off with ${
      optionText({ envFile: false }, "envFile: false")
    } (LAKEBASE_ENV_FILE=)`;
    throw badSetting(
      `${describeOrigin(origin)} wants a database on this machine, and ${
        describeOrigin(server)
      } names another. ${remedy}`,
      about,
    );
  }
  return { value: {}, origin };
}

/** One use of a Lakebase on this machine. */
export interface LocalUse {
  /** The environment variables that lead to it. */
  env: Record<string, string>;
  /** Ends the use. The server stops when its last use ends. */
  release: () => Promise<void>;
  /** Begins another use, and gives what ends it. */
  hold: () => () => Promise<void>;
}

/** What is used of the Lakebase, whose module is loaded when one starts. */
interface LocalServer {
  readonly inlineEnv: Record<string, string>;
  unref(): void;
  close(): Promise<void>;
}

interface Shared {
  server: Promise<LocalServer>;
  users: number;
}

const running = new Map<string, Shared>();

/**
 * Starts a Lakebase on this machine, or shares the one that runs with the same options.
 *
 * @param options As `startLocal` takes them.
 */
export async function acquireLocal(options: LocalOptions): Promise<LocalUse> {
  const key = JSON.stringify(options);
  const shared = running.get(key) ?? { server: start(options), users: 0 };
  running.set(key, shared);
  const hold = () => useOf(key, shared);
  const release = hold();
  try {
    return { env: (await shared.server).inlineEnv, release, hold };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Begins a use, and gives what ends it. */
function useOf(key: string, shared: Shared): () => Promise<void> {
  shared.users++;
  let released = false;
  return async () => {
    if (released) return;
    released = true;
    if (--shared.users > 0) return;
    running.delete(key);
    const awake = setInterval(() => {}, 1000); // keeps the process alive until the server has closed: the server is unref'd
    await shared.server.then((server) => server.close(), () => {}) // it did not start
      .finally(() => clearInterval(awake));
  };
}

async function start(options: LocalOptions): Promise<LocalServer> {
  const { startLocal } = await late<typeof import("../local/mod.ts")>(import.meta.resolve("../local/mod.ts"));
  const server = await startLocal(options).catch((cause) => {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError("UNREACHABLE", `Cannot start a Lakebase on this machine: ${state}`, { cause });
  });
  server.unref(); // so that a script that forgets close() still ends
  return server;
}
