import { LakebaseError } from "../core/errors.ts";
import type { LocalLakebase, LocalOptions } from "../local/mod.ts";

/** A Lakebase of this machine, in use. */
export interface LocalUse {
  /** The environment that leads to it. */
  env: Record<string, string>;
  /** Says that it is not needed any more; the last one to say so stops it. */
  release: () => Promise<void>;
}

interface Shared {
  server: Promise<LocalLakebase>;
  users: number;
}

const running = new Map<string, Shared>();

/**
 * Starts a Lakebase on this machine, or joins the one that runs with the same options.
 *
 * @param options As `startLocal` takes them.
 */
export async function acquireLocal(options: LocalOptions): Promise<LocalUse> {
  const key = JSON.stringify(options);
  const shared = running.get(key) ?? { server: start(options), users: 0 };
  running.set(key, shared);
  shared.users++;
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    if (--shared.users > 0) return;
    running.delete(key);
    const awake = setInterval(() => {}, 1000); // the server itself does not keep the process waiting for its own end
    await shared.server.then((server) => server.close(), () => {}).finally(() => clearInterval(awake));
  };
  try {
    return { env: (await shared.server).inlineEnv, release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function start(options: LocalOptions): Promise<LocalLakebase> {
  const { startLocal } = await import("../local/mod.ts");
  const server = await startLocal(options).catch((cause) => {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError("UNREACHABLE", `Cannot start a Lakebase on this machine: ${state}`, { cause });
  });
  server.unref(); // a script that forgets close() ends all the same
  return server;
}
