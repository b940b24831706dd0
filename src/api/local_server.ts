import { LakebaseError } from "../core/errors.ts";
import { lazyImport } from "../core/lazy_import.ts";
import type { LocalOptions } from "../core/local_options.ts";
import type { LocalLease } from "../settings/read_settings.ts";

/** The members of a local Lakebase that this module uses. Its own module is loaded when one starts. */
interface LocalServer {
  readonly inlineEnv: Record<string, string>;
  unref(): void;
  close(): Promise<void>;
}

interface RunningServer {
  server: Promise<LocalServer>;
  /** The number of its leases. */
  leases: number;
}

/** The servers that are running or starting, by their options. */
const running = new Map<string, RunningServer>();

/**
 * Takes a lease of a local Lakebase. If none runs with the same options, this starts one.
 *
 * @param options The options of `startLocal`.
 */
export async function leaseLocal(options: LocalOptions): Promise<LocalLease> {
  const key = JSON.stringify(options);
  const local = running.get(key) ?? { server: start(options), leases: 0 };
  running.set(key, local);
  const leaseAgain = () => addLease(key, local);
  const release = leaseAgain();
  try {
    return { env: (await local.server).inlineEnv, release, leaseAgain };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Adds a lease, and returns the function that releases it. The last release closes the server. */
function addLease(key: string, local: RunningServer): () => Promise<void> {
  local.leases++;
  let released = false;
  return async () => {
    if (released) return;
    released = true;
    if (--local.leases > 0) return;
    running.delete(key);
    const awake = setInterval(() => {}, 1000); // keeps the process alive until the server, which is unref'd, has closed
    await local.server.then((server) => server.close(), () => {}) // a server that did not start needs no close
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
