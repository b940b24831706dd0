/**
 * Installs the kernel "Deno + SQL" where Jupyter finds it, and uninstalls it.
 *
 * @module
 */

/** The location of kernels. */
interface KernelLocation {
  /** The folder of an environment, such as a `venv`. @default {the user's Jupyter folder} */
  prefix?: string | undefined;
}

/** The name and location of a kernel. */
interface KernelName extends KernelLocation {
  /** The kernel's name in Jupyter and the name of its folder. @default {"lakebase"} */
  name?: string | undefined;
}

/** Options of {@linkcode install}. */
interface KernelInstallOptions extends KernelName {
  /** The name that Jupyter displays. @default {"Deno + SQL"} */
  displayName?: string | undefined;
}

/** An installed kernel. */
export interface InstalledKernel {
  /** The kernel's name in Jupyter and the name of its folder. */
  name: string;
  /** The name that Jupyter displays. */
  displayName: string;
  /** The folder of the kernel. */
  folder: string;
  /** The folder of the JupyterLab extension that highlights `%%sql` cells. All of these kernels in one location share it. */
  extension: string;
}

const KERNEL_NAME = "lakebase";
const DISPLAY_NAME = "Deno + SQL";
const ICONS = ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"];

/**
 * Installs the kernel. A kernel of the same name that this module installed is replaced.
 *
 * @param options The name and the location.
 * @returns The installed kernel.
 * @throws {TypeError} When Jupyter does not accept the name.
 * @throws {Error} When Deno is too old, or a kernel that this module did not install has the name.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { install, list, uninstall } from "./install.ts";
 *
 * const prefix = await Deno.makeTempDir();
 * const { folder } = await install({ prefix });
 * assert.equal(folder, `${prefix}/share/jupyter/kernels/lakebase`);
 * assert.deepEqual((await list({ prefix })).map(({ displayName }) => displayName), ["Deno + SQL"]);
 * await uninstall({ prefix });
 * assert.deepEqual(await list({ prefix }), []);
 * await Deno.remove(prefix, { recursive: true });
 * ```
 */
export async function install(options: KernelInstallOptions = {}): Promise<InstalledKernel> {
  const { displayName = DISPLAY_NAME } = options;
  checkDeno(Deno.version.deno);
  if (displayName.trim() === "") throw new TypeError("Cannot use the display name: it is empty");
  const { name, folder } = locate(options);
  if (await exists(folder) && await installedIn(folder) === undefined) {
    throw new Error(`Cannot install the kernel: ${folder} holds another kernel; choose another name`);
  }
  const main = new URL("./main.ts", import.meta.url).href;
  const spec = kernelSpec({ deno: Deno.execPath(), main, displayName });
  const incomplete = `${folder}.${crypto.randomUUID()}`;
  try {
    await Deno.mkdir(incomplete, { recursive: true });
    await installLabExtension(extensionBeside(folder));
    await Promise.all(ICONS.map((icon) => copyIcon(icon, incomplete)));
    await Deno.writeTextFile(`${incomplete}/kernel.json`, `${JSON.stringify(spec, null, 2)}\n`);
    await remove(folder);
    await Deno.rename(incomplete, folder);
  } catch (error) {
    await remove(incomplete).catch(() => {}); // the first error matters more
    throw new Error(`Cannot install the kernel in ${folder}: ${(error as Error).message}`, { cause: error });
  }
  return { name, displayName, folder, extension: extensionBeside(folder) };
}

/**
 * Uninstalls a kernel that this module installed.
 *
 * @param options The name and the location.
 * @returns The kernel that was uninstalled.
 * @throws {Error} When there is no kernel of that name, or this module did not install it.
 */
export async function uninstall(options: KernelName = {}): Promise<InstalledKernel> {
  const { name, folder } = locate(options);
  const kernel = await installedIn(folder);
  if (kernel === undefined) {
    const state = await exists(folder)
      ? `${folder} holds a kernel that lakebase did not install`
      : `there is no kernel in ${folder}`;
    throw new Error(`Cannot uninstall the kernel ${JSON.stringify(name)}: ${state}`);
  }
  await remove(folder);
  if ((await list(options)).length === 0) await remove(kernel.extension);
  return kernel;
}

/**
 * Lists the kernels that this module installed in a location.
 *
 * @param location The location.
 * @returns The kernels, sorted by name.
 */
export async function list(location: KernelLocation = {}): Promise<InstalledKernel[]> {
  const kernels = kernelsFolder(location);
  if (!await exists(kernels)) return [];
  const names = (await Array.fromAsync(Deno.readDir(kernels))).map(({ name }) => name).toSorted();
  const installed = await Promise.all(names.map((name) => installedIn(`${kernels}/${name}`)));
  return installed.filter((kernel) => kernel !== undefined);
}

/** The locations in which Jupyter looks for kernels now: the user's folder and the active environment. */
export function activeLocations(): KernelLocation[] {
  const prefixes = ["VIRTUAL_ENV", "CONDA_PREFIX"].map((name) => Deno.env.get(name)).filter(Boolean);
  return [undefined, ...new Set(prefixes)].map((prefix) => ({ prefix }));
}

function locate({ name = KERNEL_NAME, ...location }: KernelName): { name: string; folder: string } {
  const checked = checkedName(name);
  return { name: checked, folder: `${kernelsFolder(location)}/${checked}` };
}

/** The folder of the kernels in a location. */
export function kernelsFolder({ prefix }: KernelLocation): string {
  const machine: Machine = { os: Deno.build.os, env: (name) => Deno.env.get(name) };
  if (prefix === "") throw new TypeError("Cannot use the prefix: it is empty; give a folder");
  return prefix === undefined ? userKernels(machine) : prefixKernels(prefix);
}

async function installedIn(folder: string): Promise<InstalledKernel | undefined> {
  try {
    const spec = readKernelSpec(await Deno.readTextFile(`${folder}/kernel.json`));
    const name = folder.slice(folder.lastIndexOf("/") + 1);
    return spec && { name, displayName: spec.display_name, folder, extension: extensionBeside(folder) };
  } catch {
    return undefined; // Jupyter can't start a kernel from this folder
  }
}

/** Copies an icon from this module's folder, which is on disk or in a registry. */
async function copyIcon(name: string, folder: string): Promise<void> {
  const response = await fetch(new URL(`./icons/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`Cannot read the kernel's icon ${name}: HTTP ${response.status}`);
  await Deno.writeFile(`${folder}/${name}`, await response.bytes());
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

async function remove(folder: string): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

const LAB_EXTENSION = "lakebase-sql-cells";
const EXTENSION_FILES = ["package.json", "static/sql_cells.js"];

/**
 * Installs the JupyterLab extension that highlights `%%sql` cells. JupyterLab finds it when its page is reloaded. A kernel
 * can't highlight them, because it names one language for all cells.
 *
 * @param folder The target, from {@linkcode extensionBeside}.
 */
async function installLabExtension(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/static`, { recursive: true });
  for (const file of EXTENSION_FILES) {
    const response = await fetch(new URL(`./lab/${file}`, import.meta.url)); // on disk or in a registry
    if (!response.ok) throw new Error(`Cannot read the kernel's file ${file}: HTTP ${response.status}`);
    await Deno.writeFile(`${folder}/${file}`, await response.bytes());
  }
}

/** The extension's folder, in the same Jupyter data folder as a kernel's folder. */
function extensionBeside(kernel: string): string {
  return `${kernel.slice(0, kernel.lastIndexOf("/kernels/"))}/labextensions/${LAB_EXTENSION}`;
}

/** The properties of a machine that determine the paths of Jupyter's folders. */
export interface Machine {
  os: typeof Deno.build.os;
  /** Reads an environment variable. */
  env: (name: string) => string | undefined;
}

/** The content of `kernel.json`, with which Jupyter starts a kernel. */
interface KernelSpec {
  argv: string[];
  display_name: string;
  language: string;
  interrupt_mode: "message";
  metadata: Record<string, unknown>;
}

/** Before this version, Deno's kernel loses results, errors or answers to `prompt()`. */
const OLDEST_DENO = [2, 9, 1];
/** Limits V8's young generation, in MB. Without the limit it grows by 15 MB over 10,000 cells, and cells are no faster. */
const NEW_SPACE = "--v8-flags=--max-semi-space-size=2";
/** The metadata key that marks the kernels that this module installed. */
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
function readKernelSpec(text: string): KernelSpec | undefined {
  try {
    const spec = JSON.parse(text);
    return spec?.metadata?.[MARK] === true && typeof spec.display_name === "string" ? spec : undefined;
  } catch {
    return undefined;
  }
}
