import { LakebaseError } from "../core/errors.ts";
import { late } from "../core/late.ts";
import type { LocalLakebase, LocalOptions } from "../local/mod.ts";

/** One use of a Lakebase on this machine. */
export interface LocalUse {
  /** The environment variables that lead to it. */
  env: Record<string, string>;
  /** Ends the use. The server stops when its last use ends. */
  release: () => Promise<void>;
  /** Begins another use, and gives what ends it. */
  hold: () => () => Promise<void>;
}

interface Shared {
  server: Promise<LocalLakebase>;
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
    await shared.server.then((server) => server.close(), () => {}).finally(() => clearInterval(awake));
  };
}

async function start(options: LocalOptions): Promise<LocalLakebase> {
  const { startLocal } = await late<typeof import("../local/mod.ts")>(import.meta.resolve("../local/mod.ts"));
  const server = await startLocal(options).catch((cause) => {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError("UNREACHABLE", `Cannot start a Lakebase on this machine: ${state}`, { cause });
  });
  server.unref(); // so that a script that forgets close() still ends
  return server;
}
