import assert from "node:assert/strict";
import { ROOT } from "../support/files.ts";

const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`)) as { tasks: Record<string, string> };

Deno.test("the tasks run each test file once, in a suite, separately, or with other clients", async () => {
  const ignored = /--ignore=(\S+)/.exec(tasks["test"]!)![1]!.split(",");
  const clients = [...tasks["test:clients"]!.matchAll(/ (tests\/\S+)/g)].map(([, path]) => path!);
  const loaded: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}tests/_suites`)) {
    const [, folders = ""] = /loadTests\(([^)]*)\)/.exec(await Deno.readTextFile(`${ROOT}tests/_suites/${name}`)) ?? [];
    loaded.push(...[...folders.matchAll(/"([^"]+)"/g)].map(([, folder]) => `tests/${folder}`));
  }
  assert.deepEqual(ignored.toSorted(), [...loaded, ...clients].toSorted());
  for (const path of ignored) await Deno.stat(ROOT + path);
  // Deno's `--ignore` has no effect on a folder if the command also names a file in it.
  assert.match(tasks["test"]!, /--ignore=\S+ tests$/);
});

Deno.test("deno task test:slow runs the tests that are named (slow), and deno task test runs all others", () => {
  const filterOf = (task: string) => / --filter '\/(.*?)\/'/.exec(tasks[task]!)![1]!;
  for (const [name, task] of [["a query", "test"], ["(slow) a query", "test:slow"]] as const) {
    for (const each of ["test", "test:slow"]) assert.equal(new RegExp(filterOf(each)).test(name), task === each, name);
  }
  assert.equal(tasks["test:slow"]!.replace(filterOf("test:slow"), ""), tasks["test"]!.replace(filterOf("test"), ""));
});

Deno.test("deno task ok and the gate run the tests of all tasks", async () => {
  assert.match(tasks["ok"]!, /^deno task check && deno task test && deno task test:slow && deno task test:clients$/);
  assert.match(
    await Deno.readTextFile(`${ROOT}.ci/run`),
    /for task in check test test:slow test:clients demo; do bounded/,
  );
});
