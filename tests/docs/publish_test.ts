import assert from "node:assert/strict";
import { codeBlocks, readDocument } from "./markdown.ts";
import { ROOT, temporaryFolder } from "../support/files.ts";

Deno.test("the published files are the module and its documents, without slow types", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty", "--no-check"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const output = new TextDecoder().decode(stderr);
  assert.ok(success, output);
  // These fetch a module when it is first used. They name it by its full address, so nothing has to be rewritten.
  assert.deepEqual([...output.matchAll(/^warning.*\n.*--> (\S+?):/gm)].map(([, path]) => path), [
    `${ROOT}src/core/lazy_import.ts`,
    `${ROOT}src/settings/environment.ts`,
  ]);
  const files = [...output.matchAll(/file:\/\/(\S+) \(/g)].map(([, path]) =>
    decodeURIComponent(path!).slice(ROOT.length)
  );
  assert.ok(
    files.includes("mod.ts") && files.includes("deno.json") && files.includes("src/kernel/icons/logo-svg.svg"),
    output,
  );
  const extra = files.filter((file) =>
    !/^(src\/.+|(mod|offline)\.ts|deno\.json|README\.md|CHANGELOG\.md|SECURITY\.md|LICENSE)$/.test(file)
  );
  assert.deepEqual(extra, []);
});

Deno.test("actions are pinned by commit, and packages for connecting by version", async () => {
  for await (const { name } of Deno.readDir(`${ROOT}.github/workflows`)) {
    const text = await Deno.readTextFile(`${ROOT}.github/workflows/${name}`);
    const used = [...text.matchAll(/uses: (?!\.\/)(\S+)/g)].map(([, action]) => action!);
    assert.deepEqual(used.filter((action) => !/@[0-9a-f]{40}$/.test(action)), [], name);
  }
  const { imports } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  for (const name of ["@std/dotenv", "@databricks/sdk-experimental"]) {
    assert.match(imports[name], /@\d+\.\d+\.\d+$/, name);
  }
});

Deno.test("the page of each published module begins with a description and has an example", async () => {
  const { exports } = JSON.parse(await readDocument("deno.json"));
  for (const path of Object.values<string>(exports)) {
    const [, comment] = /^\/\*\*\n([^]*?)\n \*\//.exec(await readDocument(path.slice(2))) ?? [];
    assert.match(comment ?? "", /^ \* [A-Z](?:(?! \* @)[^]){60,}?\n \*\n/, path);
    assert.match(comment!, /^ \* @example.*\n \* ```(?:ts|sh)\n/m, path);
    assert.match(comment!, /^ \* @module$/m, path);
  }
});

/** Runs lines of a shell script in the same way as a workflow. */
async function shell(script: string, cwd: string): Promise<boolean> {
  const { success } = await new Deno.Command("bash", { args: ["-e", "-c", script], cwd, stdout: "null" }).output();
  return success;
}

/** README.md as it is before the owner runs the command. */
function withoutAddress(text: string): string {
  return text
    .replaceAll(/(!\[[^\]]+\]\()https:\/\/raw\.githubusercontent\.com\/[^/]+\/[^/]+\/HEAD\//g, "$1")
    .replace(/^git clone https:\S+/m, "git clone <this repository>");
}

Deno.test("one command writes the address of the repository into README.md and into its pictures", async () => {
  const [command, ...others] = codeBlocks(await readDocument("CONTRIBUTING.md")).filter(({ heading }) =>
    heading === "Publish"
  );
  assert.deepEqual(others, []);
  const workflow = await readDocument(".github/workflows/publish.yml");
  const check = / run: \|\n +(! grep .*)\n/.exec(workflow)![1]!;
  await using folder = await temporaryFolder();
  const file = `${folder.path}/README.md`;
  const before = withoutAddress(await readDocument("README.md"));
  await Deno.writeTextFile(file, before);
  assert.equal(await shell(check, folder.path), false);

  assert.ok(await shell(command!.code, folder.path));
  const after = await Deno.readTextFile(file);
  assert.ok(await shell(check, folder.path));
  assert.match(after, /^git clone https:\/\/github\.com\/owner\/name lakebase /m);
  const pictures = [...after.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, address]) => address!);
  assert.ok(pictures.length >= 2);
  const home = "https://raw.githubusercontent.com/owner/name/HEAD/";
  for (const address of pictures) {
    assert.ok(address.startsWith(home), address);
    await Deno.stat(ROOT + address.slice(home.length));
  }
  assert.equal(withoutAddress(after), before);

  assert.ok(await shell(command!.code, folder.path));
  assert.equal(await Deno.readTextFile(file), after, "a second time changes nothing");
});
