import assert from "node:assert/strict";
import {
  checkDeno,
  checkedName,
  install,
  list,
  type Machine,
  prefixKernels,
  uninstall,
  userKernels,
} from "../../src/kernel/install.ts";
import { jupyterMissing } from "../support/jupyter.ts";
import { pythonWith } from "../support/python.ts";
import { requires } from "../support/requirements.ts";

async function temporaryPrefix() {
  const prefix = await Deno.makeTempDir({ prefix: "lakebase-prefix-" });
  return { prefix, [Symbol.asyncDispose]: () => Deno.remove(prefix, { recursive: true }) };
}

Deno.test("a kernel is installed, listed, installed again and uninstalled", async () => {
  await using place = await temporaryPrefix();
  const { prefix } = place;
  const kernels = `${prefix}/share/jupyter/kernels`;
  const first = await install({ prefix });
  const extension = `${prefix}/share/jupyter/labextensions/lakebase-sql-cells`;
  assert.deepEqual(first, { name: "lakebase", displayName: "Deno + SQL", folder: `${kernels}/lakebase`, extension });
  const { jupyterlab } = JSON.parse(await Deno.readTextFile(`${extension}/package.json`));
  assert.ok((await Deno.stat(`${extension}/${jupyterlab._build.load}`)).isFile);
  await install({ prefix, name: "Other", displayName: "Mine" });
  await install({ prefix, displayName: "Again" });
  const listed = await list({ prefix });
  assert.deepEqual(listed.map(({ name, displayName }) => [name, displayName]), [["lakebase", "Again"], [
    "other",
    "Mine",
  ]]);
  const files = (await Array.fromAsync(Deno.readDir(first.folder))).map(({ name }) => name).toSorted();
  assert.deepEqual(files, ["kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"]);
  assert.equal((await uninstall({ prefix })).displayName, "Again");
  assert.ok((await Deno.stat(extension)).isDirectory); // the other kernel's too
  await uninstall({ prefix, name: "other" });
  await assert.rejects(Deno.stat(extension), Deno.errors.NotFound);
  assert.deepEqual(await list({ prefix }), []);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(kernels)), []); // nothing half-written either
});

Deno.test("a kernel of another program is neither replaced nor removed", async () => {
  await using place = await temporaryPrefix();
  const { prefix } = place;
  const folder = `${prefix}/share/jupyter/kernels/python3`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/kernel.json`, '{"argv": [], "display_name": "Python", "language": "python"}');
  await assert.rejects(install({ prefix, name: "python3" }), /python3 holds another kernel; choose another name/);
  await assert.rejects(uninstall({ prefix, name: "python3" }), /holds a kernel that lakebase did not install/);
  await assert.rejects(uninstall({ prefix }), /Cannot uninstall the kernel "lakebase": there is no kernel in/);
  assert.deepEqual(await list({ prefix }), []);
});

Deno.test("invalid names are refused before a file is written", async () => {
  await using place = await temporaryPrefix();
  const { prefix } = place;
  await assert.rejects(install({ prefix, name: "a b" }), TypeError);
  await assert.rejects(install({ prefix, displayName: " " }), /display name: it is empty/);
  await assert.rejects(install({ prefix: "" }), /prefix: it is empty/);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(prefix)), []);
});

Deno.test("the error of a folder that can't be written names the action and the folder", async () => {
  await using place = await temporaryPrefix();
  await Deno.writeTextFile(`${place.prefix}/file`, "");
  const prefix = `${place.prefix}/file`;
  await assert.rejects(install({ prefix }), ({ message }: Error) => {
    return message.startsWith(`Cannot install the kernel in ${prefix}/share/jupyter/kernels/lakebase: `);
  });
});

Deno.test({
  ...requires("jupyter_client finds the kernel", jupyterMissing),
  fn: async () => {
    await using place = await temporaryPrefix();
    const { folder } = await install({ prefix: place.prefix });
    const script = "import json; from jupyter_client.kernelspec import KernelSpecManager as M; " +
      's = M().get_kernel_spec("lakebase"); ' +
      "print(json.dumps([s.display_name, s.language, s.interrupt_mode, s.resource_dir]))";
    const { stdout } = await new Deno.Command(pythonWith("jupyter_client")!, {
      args: ["-c", script],
      env: { JUPYTER_PATH: `${place.prefix}/share/jupyter` },
    }).output();
    assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), ["Deno + SQL", "typescript", "message", folder]);
  },
});

// The folders of jupyter_core.paths.jupyter_data_dir.
const FOLDERS: [os: Machine["os"], env: Record<string, string>, kernels: string][] = [
  ["linux", { HOME: "/home/me" }, "/home/me/.local/share/jupyter/kernels"],
  ["linux", { HOME: "/home/me", XDG_DATA_HOME: "/data" }, "/data/jupyter/kernels"],
  ["linux", { HOME: "/home/me", XDG_DATA_HOME: "" }, "/home/me/.local/share/jupyter/kernels"],
  ["linux", { HOME: "/home/me", XDG_DATA_HOME: "/data", JUPYTER_DATA_DIR: "/j" }, "/j/kernels"],
  ["darwin", { HOME: "/Users/me" }, "/Users/me/Library/Jupyter/kernels"],
  [
    "darwin",
    { HOME: "/Users/me", JUPYTER_PLATFORM_DIRS: "1" },
    "/Users/me/Library/Application Support/Jupyter/kernels",
  ],
  ["windows", { APPDATA: "C:\\Roaming" }, "C:\\Roaming/jupyter/kernels"],
  ["windows", { USERPROFILE: "C:\\me" }, "C:\\me/.jupyter/data/kernels"],
  [
    "windows",
    { APPDATA: "C:\\Roaming", LOCALAPPDATA: "C:\\Local", JUPYTER_PLATFORM_DIRS: "true" },
    "C:\\Local/jupyter/kernels",
  ],
];

Deno.test("the folder of a user's kernels is the one in which Jupyter looks", () => {
  for (const [os, env, kernels] of FOLDERS) assert.equal(userKernels({ os, env: (name) => env[name] }), kernels);
  assert.throws(() => userKernels({ os: "linux", env: () => undefined }), /HOME is not set/);
  assert.equal(prefixKernels("/venv/"), "/venv/share/jupyter/kernels");
});

Deno.test("a name that Jupyter does not accept is refused", () => {
  for (const name of ["lakebase", "a.b-c_d", "SQL2"]) assert.equal(checkedName(name), name.toLowerCase());
  for (const name of ["", "..", ".", "a/b", "a b", "é", "../x", "a\n"]) {
    assert.throws(() => checkedName(name), /Cannot use the kernel name/, name);
  }
});

Deno.test("a Deno that is too old is refused, with the reason", () => {
  for (const version of ["2.9.1", "2.9.6", "2.10.0", "3.0.0", "2.9.1+abc"]) checkDeno(version);
  for (const version of ["2.9.0", "2.8.9", "1.46.3"]) {
    assert.throws(() => checkDeno(version), /loses results and errors; upgrade to 2\.9\.1 or newer/, version);
  }
});
