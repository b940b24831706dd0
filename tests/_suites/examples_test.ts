import { connect } from "../../mod.ts";
import { leaseLocal } from "../../src/api/local_server.ts";
import { codeBlocks, readDocument, runDocuments } from "../docs/markdown.ts";
import { filesBelow, ROOT } from "../support/files.ts";
import { dropContent } from "../support/shared_servers.ts";

// Runs what `deno test --doc README.md docs mod.ts src` runs, but with one Lakebase for all examples, which is emptied
// for each example. `deno task check` checks the types of the examples.

const folder = await Deno.makeTempDir({ prefix: "lakebase-examples-" });
const lease = await leaseLocal({});

for (const [at, example] of (await findExamples()).entries()) {
  Deno.test({
    name: `the example of ${example.file.slice(ROOT.length)}, line ${example.line} runs`,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const path = `${folder}/example-${at}.ts`;
      await Deno.writeTextFile(path, exampleModule(example));
      await (await import(`file://${path}`)).default();
      await using db = await connect({ local: true });
      await dropContent(db);
    },
  });
}

Deno.test.afterAll(async () => {
  await lease.release();
  await Deno.remove(folder, { recursive: true });
});

/** A block of TypeScript in a document or a comment that is run. */
interface Example {
  file: string;
  line: number;
  code: string;
  /** The names that the file exports, which its examples need not import. */
  exported: string[];
}

/** The examples of the documents and of the source. */
async function findExamples(): Promise<Example[]> {
  const examples: Example[] = [];
  for (const name of await runDocuments()) examples.push(...examplesIn(ROOT + name, await readDocument(name), []));
  for (const file of [`${ROOT}mod.ts`, ...filesBelow(`${ROOT}src`, ".ts")]) {
    const text = await Deno.readTextFile(file);
    const comments = text.split("\n").map((line) => /^\s*\* ?(.*)$/.exec(line)?.[1] ?? "").join("\n");
    const exported = [...text.matchAll(/^export (?:async )?(?:function\*?|class|const) (\w+)/gm)].map(([, name]) =>
      name!
    );
    examples.push(...examplesIn(file, comments, exported));
  }
  return examples;
}

function examplesIn(file: string, text: string, exported: string[]): Example[] {
  const blocks = codeBlocks(text).filter(({ language, rest }) => language === "ts" && rest === "");
  return blocks.map(({ line, code }) => ({ file, line, code, exported }));
}

/** A module whose default export runs an example. It finds its imports from any folder. */
function exampleModule({ file, code, exported }: Example): string {
  const imports: string[] = [];
  const body = code.replace(/^import\s[^;]*?"([^"]+)";$/gm, (line, specifier: string) => {
    const to = specifier.startsWith(".") ? new URL(specifier, `file://${file}`).href : import.meta.resolve(specifier);
    imports.push(line.replace(`"${specifier}"`, `"${to}"`));
    return "";
  });
  const named = new Set(imports.join("\n").match(/\w+/g));
  const missing = exported.filter((name) => !named.has(name) && new RegExp(`\\b${name}\\b`).test(body));
  if (missing.length > 0) imports.push(`import { ${missing.join(", ")} } from "file://${file}";`);
  return `${imports.join("\n")}\nexport default async function (): Promise<void> {\n${body}}\n`;
}
