import { LakebasePool } from "../../src/net/pool.ts";
import { tlsOptions } from "../../src/net/tls.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";

type PoolOptions = ConstructorParameters<typeof LakebasePool>[0];

/** Makes a pool for a local Lakebase whose role `app` has the password `native-secret`. */
export async function localPool(
  { env, ca }: Pick<LocalLakebase, "env" | "ca">,
  options: Partial<PoolOptions>,
): Promise<LakebasePool> {
  return new LakebasePool({
    host: "localhost",
    port: Number(env["PGPORT"]),
    database: env["PGDATABASE"]!,
    user: "app",
    password: "native-secret",
    native: true,
    ssl: await tlsOptions("localhost", "verify-full", ca),
    max: 1,
    idleTimeout: 30,
    maxLifetime: 3600,
    connectTimeout: 30,
    statementTimeout: 0,
    readOnly: false,
    ...options,
  });
}
