import { connect } from "../../mod.ts";
import { useLocal } from "../../src/api/local_server.ts";
import { exampleModule, examples } from "../docs/examples.ts";
import { ROOT } from "../docs/support.ts";
import { emptied } from "../support/shared_servers.ts";

// Runs what `deno test --doc README.md docs mod.ts src` runs, but with one Lakebase for all examples, which is emptied
// for each example. `deno task check` checks the types of the examples.

const folder = await Deno.makeTempDir({ prefix: "lakebase-examples-" });
const held = await useLocal({});

for (const [at, example] of (await examples()).entries()) {
  Deno.test({
    name: `the example of ${example.file.slice(ROOT.length)}, line ${example.line}`,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const path = `${folder}/example-${at}.ts`;
      await Deno.writeTextFile(path, exampleModule(example));
      await (await import(`file://${path}`)).default();
      await using db = await connect({ local: true });
      await emptied(db);
    },
  });
}

Deno.test.afterAll(async () => {
  await held.release();
  await Deno.remove(folder, { recursive: true });
});
