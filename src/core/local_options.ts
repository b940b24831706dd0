/**
 * The options of `startLocal`, which are also those of `connect({ local })`. They stand here because settings are read without
 * loading the local Lakebase; the compiler checks in `local/mod.ts` that none is missing.
 */
export const LOCAL_OPTIONS = {
  database: true,
  dataDir: true,
  user: true,
  workspacePort: true,
  postgresPort: true,
  projects: true,
  instances: true,
  warehouses: true,
  catalogs: true,
  passwords: true,
  servicePrincipals: true,
  groups: true,
  volumes: true,
  volumesDir: true,
  fileLimit: true,
  workspaceId: true,
  handshakeTimeout: true,
  lockTimeout: true,
  signal: true,
} as const;
