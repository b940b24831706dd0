import assert from "node:assert/strict";
import { startLocal } from "../../src/local/mod.ts";
import { psqlMissing } from "../support/postgres.ts";
import { requires } from "../support/requirements.ts";
import { type CodeBlock, codeBlocks, readDocument, runDocuments } from "./markdown.ts";
import { copy, denoDir, ROOT, temporaryFolder } from "../support/files.ts";

/** The parts of the checkout that the commands need. */
const NEEDED = ["deno.json", "deno.lock", "mod.ts", "offline.ts", "src", "examples"];

interface Command extends CodeBlock {
  document: string;
}

Deno.test({
  ...requires(
    "the commands of README.md and docs run, one after the other, as a new user would type them",
    psqlMissing,
  ),
  fn: async () => {
    const documents = await Promise.all((await runDocuments()).map(commands));
    assert.ok(documents.flat().length >= 8);
    await using folder = await temporaryFolder();
    await using home = await temporaryFolder();
    await using local = await startLocal();
    for (const name of NEEDED) await copy(ROOT + name, `${folder.path}/${name}`);
    const env = { ...local.env, ...userEnvironment(home.path) };
    for (const block of documents.flat()) await run(block, folder.path, env);
    assert.ok((await Deno.stat(`${folder.path}/trips.parquet`)).size > 0);
    await Deno.stat(`${home.path}/.local/share/jupyter/kernels/lakebase/kernel.json`);
  },
});

/** The commands of a document. */
async function commands(document: string): Promise<Command[]> {
  const blocks = codeBlocks(await readDocument(document));
  return blocks.filter(({ language, rest }) => language === "sh" && rest === "").map((block) => ({
    ...block,
    document,
  }));
}

/** The variables of a user with another home folder, who shares this machine's cache of Deno. */
function userEnvironment(home: string): Record<string, string> {
  const deno = Deno.execPath().replace(/\/[^/]*$/, "");
  return {
    HOME: home,
    DENO_DIR: denoDir(),
    NO_COLOR: "1",
    PATH: `${home}/.deno/bin:${deno}:${Deno.env.get("PATH")}`,
    ...Object.fromEntries(["JUPYTER_DATA_DIR", "XDG_DATA_HOME", "DENO_INSTALL_ROOT"].map((name) => [name, ""])),
  };
}

/** Runs a command in a shell that ends the programs that are still running. */
async function run({ document, code, line }: Command, cwd: string, env: Record<string, string>): Promise<void> {
  const script =
    `unset JUPYTER_DATA_DIR XDG_DATA_HOME DENO_INSTALL_ROOT\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n${code}`;
  const { success, stdout, stderr } = await new Deno.Command("bash", { args: ["-ec", script], cwd, env }).output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.ok(success, `${document}, line ${line}:\n${output}`);
}
