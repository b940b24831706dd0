/** The checkout, with a slash at its end. */
export const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

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

/** Handles the error of removing a file that may not exist. */
export function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** The paths of all files in a folder and in its subfolders whose names have this ending, in order. */
export function filesBelow(folder: string, ending: string): string[] {
  return [...Deno.readDirSync(folder)].toSorted((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    return isDirectory ? filesBelow(path, ending) : name.endsWith(ending) ? [path] : [];
  });
}

/** Copies a file, or a folder with all its content. */
export async function copy(from: string, to: string): Promise<void> {
  if (isFile(from)) return await Deno.copyFile(from, to);
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await copy(`${from}/${name}`, `${to}/${name}`);
}

/** A folder that exists until it is disposed of. */
export interface TemporaryFolder extends AsyncDisposable {
  path: string;
}

export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "lakebase-test-" }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Deno's cache, for a program that runs with another home folder and would otherwise fetch everything again. */
export function denoDir(): string {
  const { env, build } = Deno;
  if (build.os === "windows") return env.get("DENO_DIR") ?? `${env.get("LOCALAPPDATA")}\\deno`;
  return env.get("DENO_DIR") ?? `${env.get("HOME")}/${build.os === "darwin" ? "Library/Caches" : ".cache"}/deno`;
}

/**
 * The flags of a program of another folder that uses this checkout. Without the lock Deno asks the registry for each
 * package's versions, which fails on a new machine once a test changes the certificates or the proxy.
 */
export const LOCKED: readonly string[] = ["--frozen", `--lock=${ROOT}tests/deno.lock`, `--config=${ROOT}deno.json`];
