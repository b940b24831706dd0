import assert from "node:assert/strict";
import { ROOT } from "./support.ts";

Deno.test("deno task test runs each test file once: in a suite, or by itself", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const left = /--ignore=(\S+)/.exec(tasks.test)![1]!.split(",");
  const loaded: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}tests/suite`)) {
    const [, folders = ""] = /loadTests\(([^)]*)\)/.exec(await Deno.readTextFile(`${ROOT}tests/suite/${name}`)) ?? [];
    loaded.push(...[...folders.matchAll(/"([^"]+)"/g)].map(([, folder]) => `tests/${folder}`));
  }
  assert.deepEqual(left.toSorted(), loaded.toSorted());
  // Deno ignores nothing in a folder of which the command names a file as well.
  assert.match(tasks.test, /--ignore=\S+ tests$/);
});
