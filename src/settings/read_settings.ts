import { type Origin, originsOf } from "./origins.ts";
import { readDotenv } from "./dotenv.ts";
import { acquireLocal } from "../embedded.ts";
import { resolveLocal } from "./local_setting.ts";
import type { ConnectOptions } from "./options.ts";
import { resolveSettings, type Settings } from "./settings.ts";

/** What was settled, and what was started for it. */
export interface ReadSettings {
  /** The settings. */
  settings: Settings;
  /** Where each came from. */
  origins: Origin[];
  /** Gives back a Lakebase on this machine, where one was started. */
  release: () => Promise<void>;
}

/**
 * Reads what `connect()` goes by from its options, the environment and `.env`; starts a Lakebase on this machine where
 * that is what they say.
 *
 * @throws {LakebaseError} `BAD_SETTING`
 */
export async function readSettings(options: ConnectOptions): Promise<ReadSettings> {
  const env = Deno.env.toObject();
  const dotenv = options?.local ? {} : await readDotenv(options?.envFile);
  const wanted = resolveLocal(options, env, dotenv);
  if (wanted === undefined) {
    const settings = resolveSettings(options, env, dotenv);
    return { settings, origins: originsOf(options, env, dotenv), release: async () => {} };
  }
  resolveSettings(options, {}); // a typo is told before a server is started for it
  const local = await acquireLocal(wanted);
  const settings = resolveSettings(options, local.env);
  const named = "LAKEBASE_LOCAL";
  const from = options?.local !== undefined ? "option" : env[named] ? named : `${named} in .env`;
  const origins = [...originsOf({ ...options, local: undefined! }, {}, {}), { setting: "local", value: "true", from }];
  return { settings, origins, release: local.release };
}
