import assert from "node:assert/strict";
import { lakebase } from "./support.ts";

Deno.test("lakebase kernel installs, lists and uninstalls the kernel", async () => {
  const prefix = await Deno.makeTempDir({ prefix: "lakebase-kernel-" });
  try {
    const folder = `${prefix}/share/jupyter/kernels/lakebase`;
    const installed = await lakebase(["kernel", "install", "--prefix", prefix, "--display-name", "SQL"]);
    assert.deepEqual(installed, {
      code: 0,
      stdout: `Installed the kernel "SQL" (lakebase) in ${folder}\n` +
        `and the JupyterLab extension that highlights its %%sql cells in ${prefix}/share/jupyter/labextensions/lakebase-sql-cells\n`,
      stderr: "",
    });
    const spec = JSON.parse(await Deno.readTextFile(`${folder}/kernel.json`));
    assert.deepEqual([spec.display_name, spec.interrupt_mode], ["SQL", "message"]);
    const list = await lakebase(["kernel", "list", "--prefix", prefix]);
    assert.equal(list.stdout, `lakebase\tSQL\t${folder}\n`);
    const env = { JUPYTER_DATA_DIR: `${prefix}/own`, VIRTUAL_ENV: prefix };
    const active = await lakebase(["kernel", "list"], { env });
    assert.equal(active.stdout, `lakebase\tSQL\t${folder}\n`);
    const own = await lakebase(["kernel", "list", "--user"], { env });
    assert.deepEqual(own, {
      code: 0,
      stdout: "",
      stderr: `No kernel is installed in ${prefix}/own/kernels; to install one, run: lakebase kernel install\n`,
    });
    const gone = await lakebase(["kernel", "uninstall", "--prefix", prefix]);
    assert.deepEqual(gone, { code: 0, stdout: `Removed the kernel lakebase from ${folder}\n`, stderr: "" });
    const again = await lakebase(["kernel", "uninstall", "--prefix", prefix]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^lakebase: Cannot uninstall the kernel "lakebase"/);
  } finally {
    await Deno.remove(prefix, { recursive: true });
  }
});

Deno.test("lakebase kernel refuses unknown commands and options", async () => {
  for (
    const [args, message] of [
      [[], /Usage: lakebase kernel/],
      [["instal"], /Did you mean install\?/],
      [["install", "--name", "a b"], /kernel name "a b"/],
      [["install", "--user", "--prefix", "."], /cannot be used with/],
    ] as [string[], RegExp][]
  ) {
    const { code, stdout, stderr } = await lakebase(["kernel", ...args]);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
  }
});
