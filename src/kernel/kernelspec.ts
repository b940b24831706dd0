/** The properties of a machine that determine the paths of Jupyter's folders. */
export interface Machine {
  os: typeof Deno.build.os;
  /** Reads an environment variable. */
  env: (name: string) => string | undefined;
}

/** The content of `kernel.json`, with which Jupyter starts a kernel. */
export interface KernelSpec {
  argv: string[];
  display_name: string;
  language: string;
  interrupt_mode: "message";
  metadata: Record<string, unknown>;
}

/** Deno's kernel loses results, errors or answers to `prompt()` before this version. */
const OLDEST_DENO = [2, 9, 1];
/** Limits V8's young generation, in MB. Without the limit it grows by 15 MB over 10,000 cells and saves no time. */
const NEW_SPACE = "--v8-flags=--max-semi-space-size=2";
/** The metadata key of the kernels that this module installed. */
const MARK = "lakebase";

/** The folder of one user's kernels, as `jupyter --paths` prints it. */
export function userKernels({ os, env }: Machine): string {
  return `${userData(os, env)}/kernels`;
}

function userData(os: Machine["os"], env: Machine["env"]): string {
  const dataFolder = env("JUPYTER_DATA_DIR");
  if (dataFolder) return dataFolder;
  const platformFolders = /^(1|true|yes|on)$/i.test(env("JUPYTER_PLATFORM_DIRS") ?? "");
  if (os === "windows") {
    const roaming = env("APPDATA");
    if (platformFolders && env("LOCALAPPDATA")) return `${env("LOCALAPPDATA")}/jupyter`;
    return roaming ? `${roaming}/jupyter` : `${home("USERPROFILE", env)}/.jupyter/data`;
  }
  if (os === "darwin") return `${home("HOME", env)}/Library/${platformFolders ? "Application Support/" : ""}Jupyter`;
  return `${env("XDG_DATA_HOME") || `${home("HOME", env)}/.local/share`}/jupyter`;
}

function home(variable: string, env: Machine["env"]): string {
  const folder = env(variable);
  if (folder) return folder;
  throw new Error(`Cannot find Jupyter's folder: ${variable} is not set; set it, or JUPYTER_DATA_DIR`);
}

/** The folder of the kernels in an environment, such as a `venv`. */
export function prefixKernels(prefix: string): string {
  return `${prefix.replace(/[/\\]+$/, "")}/share/jupyter/kernels`;
}

/**
 * Checks a kernel's name, which is also the name of its folder and part of URLs.
 *
 * @returns The name in lower case.
 * @throws {TypeError} When Jupyter does not accept the name.
 */
export function checkedName(name: string): string {
  if (/^[a-z0-9._-]+$/i.test(name) && !/^\.+$/.test(name)) return name.toLowerCase();
  throw new TypeError(
    `Cannot use the kernel name ${JSON.stringify(name)}: use only letters, digits, ".", "_" and "-"`,
  );
}

/**
 * Checks that a Deno version is recent enough.
 *
 * @throws {Error} When the version is too old.
 */
export function checkDeno(version: string): void {
  const parts = version.split(/[.+-]/).map(Number);
  const at = OLDEST_DENO.findIndex((part, index) => parts[index] !== part);
  if (at === -1 || (parts[at] ?? 0) > OLDEST_DENO[at]!) return;
  throw new Error(
    `Cannot install the kernel: this is Deno ${version}, whose own Jupyter kernel loses results and errors; ` +
      `upgrade to ${OLDEST_DENO.join(".")} or newer (deno upgrade)`,
  );
}

/**
 * The kernel spec of this kernel.
 *
 * @param main The URL of the kernel's main module.
 */
export function kernelSpec(
  { deno, main, displayName }: { deno: string; main: string; displayName: string },
): KernelSpec {
  return {
    // The configuration in the notebook's folder is for its cells, not for this kernel.
    argv: [deno, "run", "-A", "--no-config", "--no-lock", NEW_SPACE, main, "{connection_file}"],
    display_name: displayName,
    language: "typescript",
    interrupt_mode: "message",
    metadata: { [MARK]: true },
  };
}

/** Reads a `kernel.json` that this module wrote; `undefined` for any other. */
export function readKernelSpec(text: string): KernelSpec | undefined {
  try {
    const spec = JSON.parse(text);
    return spec?.metadata?.[MARK] === true && typeof spec.display_name === "string" ? spec : undefined;
  } catch {
    return undefined;
  }
}
