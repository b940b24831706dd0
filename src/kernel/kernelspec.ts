/** What there is to know about this machine. */
export interface Machine {
  os: typeof Deno.build.os;
  /** The environment. */
  env: (name: string) => string | undefined;
}

/** What Jupyter reads to start a kernel: `kernel.json`. */
export interface KernelSpec {
  argv: string[];
  display_name: string;
  language: string;
  interrupt_mode: "message";
  metadata: Record<string, unknown>;
}

/** Before this, Deno's kernel loses results, errors or answers to `prompt()`. */
const OLDEST_DENO = [2, 9, 1];
/** Megabytes of what is new in V8's heap. It would grow with every cell, to 15 MB more after 10,000, for no time saved. */
const NEW_SPACE = "--v8-flags=--max-semi-space-size=2";
/** Marks what this module installed. */
const MARK = "lakebase";

/** Where Jupyter looks for one user's kernels, as `jupyter --paths` would say. */
export function userKernels({ os, env }: Machine): string {
  return `${userData(os, env)}/kernels`;
}

function userData(os: Machine["os"], env: Machine["env"]): string {
  const own = env("JUPYTER_DATA_DIR");
  if (own) return own;
  const platform = /^(1|true|yes|on)$/i.test(env("JUPYTER_PLATFORM_DIRS") ?? "");
  if (os === "windows") {
    const roaming = env("APPDATA");
    if (platform && env("LOCALAPPDATA")) return `${env("LOCALAPPDATA")}/jupyter`;
    return roaming ? `${roaming}/jupyter` : `${home("USERPROFILE", env)}/.jupyter/data`;
  }
  if (os === "darwin") return `${home("HOME", env)}/Library/${platform ? "Application Support/" : ""}Jupyter`;
  return `${env("XDG_DATA_HOME") || `${home("HOME", env)}/.local/share`}/jupyter`;
}

function home(variable: string, env: Machine["env"]): string {
  const folder = env(variable);
  if (folder) return folder;
  throw new Error(`Cannot find Jupyter's folder: ${variable} is not set; set it, or JUPYTER_DATA_DIR`);
}

/** Where Jupyter looks for the kernels of an environment, such as a `venv`'s folder. */
export function prefixKernels(prefix: string): string {
  return `${prefix.replace(/[/\\]+$/, "")}/share/jupyter/kernels`;
}

/**
 * A kernel's name, which is its folder's and is in addresses too.
 *
 * @throws {TypeError} When Jupyter would not take it.
 */
export function checkedName(name: string): string {
  if (/^[a-z0-9._-]+$/i.test(name) && !/^\.+$/.test(name)) return name.toLowerCase();
  throw new TypeError(
    `Cannot use the kernel name ${JSON.stringify(name)}: only letters, digits, ".", "_" and "-" are possible`,
  );
}

/**
 * Whether this Deno is good enough.
 *
 * @throws {Error} When it is not.
 */
export function checkDeno(version: string): void {
  const parts = version.split(/[.+-]/).map(Number);
  const at = OLDEST_DENO.findIndex((part, index) => parts[index] !== part);
  if (at === -1 || (parts[at] ?? 0) > OLDEST_DENO[at]!) return;
  throw new Error(
    `Cannot install the kernel: this is Deno ${version}, whose own Jupyter kernel loses results and errors; ` +
      `${OLDEST_DENO.join(".")} or newer is wanted (deno upgrade)`,
  );
}

/**
 * A kernel's description.
 *
 * @param main The URL of the kernel's main module.
 */
export function kernelSpec(
  { deno, main, displayName }: { deno: string; main: string; displayName: string },
): KernelSpec {
  return {
    // The notebook's own configuration is for its cells: the kernel passes it by.
    argv: [deno, "run", "-A", "--no-config", "--no-lock", NEW_SPACE, main, "{connection_file}"],
    display_name: displayName,
    language: "typescript",
    interrupt_mode: "message",
    metadata: { [MARK]: true },
  };
}

/** A `kernel.json` of this module's; `undefined` for another's. */
export function readKernelSpec(text: string): KernelSpec | undefined {
  try {
    const spec = JSON.parse(text);
    return spec?.metadata?.[MARK] === true && typeof spec.display_name === "string" ? spec : undefined;
  } catch {
    return undefined;
  }
}
