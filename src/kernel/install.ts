/**
 * Installs the kernel "Deno + SQL" where Jupyter finds it, and takes it away again.
 *
 * @module
 */

import {
  checkDeno,
  checkedName,
  kernelSpec,
  type Machine,
  prefixKernels,
  readKernelSpec,
  userKernels,
} from "./kernelspec.ts";

/** Where kernels are. */
export interface KernelLocation {
  /** The folder of an environment, such as a `venv`; the user's own Jupyter folder when not given. */
  prefix?: string | undefined;
}

/** Which kernel. */
export interface KernelName extends KernelLocation {
  /** What Jupyter calls it and its folder. @default {"lakebase"} */
  name?: string | undefined;
}

/** How to install it. */
export interface KernelInstallOptions extends KernelName {
  /** What people see. @default {"Deno + SQL"} */
  displayName?: string | undefined;
}

/** A kernel that is installed. */
export interface InstalledKernel {
  /** What Jupyter calls it and its folder. */
  name: string;
  /** What people see. */
  displayName: string;
  /** The folder that it is in. */
  folder: string;
  /** The folder of the JupyterLab extension that colours its `%%sql` cells; shared by all of these kernels in one place. */
  extension: string;
}

const KERNEL_NAME = "lakebase";
const DISPLAY_NAME = "Deno + SQL";
const ICONS = ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"];

/**
 * Installs the kernel, in place of an earlier one of this module's.
 *
 * @param options Its name and where to.
 * @returns What was written where.
 * @throws {TypeError} When Jupyter would not take the name.
 * @throws {Error} When Deno is too old, or another kernel has the name.
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
    throw new Error(`Cannot install the kernel: ${folder} is another kernel's; choose another name`);
  }
  const main = new URL("./main.ts", import.meta.url).href;
  const spec = kernelSpec({ deno: Deno.execPath(), main, displayName });
  const written = `${folder}.${crypto.randomUUID()}`;
  try {
    await Deno.mkdir(written, { recursive: true });
    await installLabExtension(extensionBeside(folder));
    await Promise.all(ICONS.map((icon) => copyIcon(icon, written)));
    await Deno.writeTextFile(`${written}/kernel.json`, `${JSON.stringify(spec, null, 2)}\n`);
    await remove(folder);
    await Deno.rename(written, folder);
  } catch (error) {
    await remove(written).catch(() => {}); // what went wrong first is what to tell
    throw new Error(`Cannot install the kernel in ${folder}: ${(error as Error).message}`, { cause: error });
  }
  return { name, displayName, folder, extension: extensionBeside(folder) };
}

/**
 * Takes a kernel of this module's away.
 *
 * @param options Its name and where from.
 * @returns What was taken away.
 * @throws {Error} When there is no kernel of that name, or it is not this module's.
 */
export async function uninstall(options: KernelName = {}): Promise<InstalledKernel> {
  const { name, folder } = locate(options);
  const kernel = await installedIn(folder);
  if (kernel === undefined) {
    const state = await exists(folder) ? `${folder} is another's` : `there is none in ${folder}`;
    throw new Error(`Cannot uninstall the kernel ${JSON.stringify(name)}: ${state}`);
  }
  await remove(folder);
  if ((await list(options)).length === 0) await remove(kernel.extension);
  return kernel;
}

/**
 * The kernels of this module's that are installed.
 *
 * @param place Where to look.
 * @returns In the order of their names.
 */
export async function list(place: KernelLocation = {}): Promise<InstalledKernel[]> {
  const kernels = kernelsFolder(place);
  if (!await exists(kernels)) return [];
  const folders = (await Array.fromAsync(Deno.readDir(kernels))).map(({ name }) => name).toSorted();
  const found = await Promise.all(folders.map((name) => installedIn(`${kernels}/${name}`)));
  return found.filter((kernel) => kernel !== undefined);
}

/** Where Jupyter looks for kernels here: in one's own folder, and in the environment that is active. */
export function activePlaces(): KernelLocation[] {
  const prefixes = ["VIRTUAL_ENV", "CONDA_PREFIX"].map((name) => Deno.env.get(name)).filter(Boolean);
  return [undefined, ...new Set(prefixes)].map((prefix) => ({ prefix }));
}

function locate({ name = KERNEL_NAME, ...place }: KernelName): { name: string; folder: string } {
  const checked = checkedName(name);
  return { name: checked, folder: `${kernelsFolder(place)}/${checked}` };
}

/** The folder of the kernels in a place. */
export function kernelsFolder({ prefix }: KernelLocation): string {
  const machine: Machine = { os: Deno.build.os, env: (name) => Deno.env.get(name) };
  if (prefix === "") throw new TypeError("Cannot use the prefix: it is empty; a folder is wanted");
  return prefix === undefined ? userKernels(machine) : prefixKernels(prefix);
}

async function installedIn(folder: string): Promise<InstalledKernel | undefined> {
  try {
    const spec = readKernelSpec(await Deno.readTextFile(`${folder}/kernel.json`));
    const name = folder.slice(folder.lastIndexOf("/") + 1);
    return spec && { name, displayName: spec.display_name, folder, extension: extensionBeside(folder) };
  } catch {
    return undefined;
  }
}

/** From beside this module, be that on disk or in a registry. */
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
 * Installs what colours `%%sql` cells in JupyterLab, which finds it when its page is loaded anew. A kernel by itself can't: it
 * names one language for all of its cells.
 *
 * @param folder Where to, of {@linkcode extensionBeside}.
 */
export async function installLabExtension(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/static`, { recursive: true });
  for (const file of EXTENSION_FILES) {
    const response = await fetch(new URL(`./lab/${file}`, import.meta.url)); // on disk or in a registry
    if (!response.ok) throw new Error(`Cannot read the kernel's file ${file}: HTTP ${response.status}`);
    await Deno.writeFile(`${folder}/${file}`, await response.bytes());
  }
}

/** The extension's folder in the same Jupyter data folder as a kernel's. */
export function extensionBeside(kernel: string): string {
  return `${kernel.slice(0, kernel.lastIndexOf("/kernels/"))}/labextensions/${LAB_EXTENSION}`;
}
