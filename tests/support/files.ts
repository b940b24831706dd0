export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Removes a file that may not exist. */
export function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** Deno's cache, for a program that runs with another home folder and would otherwise fetch everything again. */
export function denoDir(): string {
  const { env, build } = Deno;
  if (build.os === "windows") return env.get("DENO_DIR") ?? `${env.get("LOCALAPPDATA")}\\deno`;
  return env.get("DENO_DIR") ?? `${env.get("HOME")}/${build.os === "darwin" ? "Library/Caches" : ".cache"}/deno`;
}

const root = decodeURIComponent(new URL("../../", import.meta.url).pathname);

/**
 * The flags of a program of another folder that uses this checkout. Without the lock Deno asks the registry for each
 * package's versions, which fails on a new machine once a test changes the certificates or the proxy.
 */
export const LOCKED: readonly string[] = ["--frozen", `--lock=${root}tests/deno.lock`, `--config=${root}deno.json`];
