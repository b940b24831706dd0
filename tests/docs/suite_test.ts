import assert from "node:assert/strict";
import { ROOT } from "./support.ts";

Deno.test("the tasks run each test file once: in a suite, by itself, or with the clients of others", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const left = /--ignore=(\S+)/.exec(tasks.test)![1]!.split(",");
  const clients = [...tasks["test:clients"].matchAll(/ (tests\/\S+)/g)].map(([, path]) => path!);
  const loaded: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}tests/_suites`)) {
    const [, folders = ""] = /loadTests\(([^)]*)\)/.exec(await Deno.readTextFile(`${ROOT}tests/_suites/${name}`)) ?? [];
    loaded.push(...[...folders.matchAll(/"([^"]+)"/g)].map(([, folder]) => `tests/${folder}`));
  }
  assert.deepEqual(left.toSorted(), [...loaded, ...clients].toSorted());
  for (const path of left) await Deno.stat(ROOT + path);
  // Deno ignores nothing in a folder of which the command names a file as well.
  assert.match(tasks.test, /--ignore=\S+ tests$/);
});

Deno.test("deno task ok and the gate run the tests of both tasks", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  assert.match(tasks.ok, /deno task check && deno task test && deno task test:clients$/);
  assert.match(await Deno.readTextFile(`${ROOT}.ci/run`), /for task in check test test:clients demo; do bounded/);
});
