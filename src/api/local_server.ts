import { LakebaseError } from "../core/errors.ts";
import { lazyImport } from "../core/lazy_import.ts";
import type { LocalOptions } from "../core/local_options.ts";
import type { LocalUse } from "../settings/read_settings.ts";

/** The members of a local Lakebase that this module uses. Its own module is loaded when one starts. */
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
 * @param options The options of `startLocal`.
 */
export async function useLocal(options: LocalOptions): Promise<LocalUse> {
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

/** Begins a use, and returns the function that ends it. */
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
  const { startLocal } = await lazyImport<typeof import("../local/mod.ts")>(import.meta.resolve("../local/mod.ts"));
  const server = await startLocal(options).catch((cause) => {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError("UNREACHABLE", `Cannot start a Lakebase on this machine: ${state}`, { cause });
  });
  server.unref(); // so that a script that forgets close() still ends
  return server;
}
