import assert from "node:assert/strict";
import { checkDeno, checkedName, type Machine, prefixKernels, userKernels } from "../../src/kernel/install.ts";

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
