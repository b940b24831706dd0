import { codeBlocks, readDocument, runDocuments } from "./markdown.ts";
import { ROOT } from "./support.ts";

/** A block of TypeScript in a document or a comment that is run. */
export interface Example {
  file: string;
  line: number;
  code: string;
  /** The names that the file exports, which its examples need not import. */
  exported: string[];
}

/** The examples of the documents and of the source. */
export async function examples(): Promise<Example[]> {
  const found: Example[] = [];
  for (const name of await runDocuments()) found.push(...examplesIn(ROOT + name, await readDocument(name), []));
  for (const file of [`${ROOT}mod.ts`, ...sources(`${ROOT}src`)]) {
    const text = await Deno.readTextFile(file);
    const comments = text.split("\n").map((line) => /^\s*\* ?(.*)$/.exec(line)?.[1] ?? "").join("\n");
    const exported = [...text.matchAll(/^export (?:async )?(?:function\*?|class|const) (\w+)/gm)].map(([, name]) =>
      name!
    );
    found.push(...examplesIn(file, comments, exported));
  }
  return found;
}

function examplesIn(file: string, text: string, exported: string[]): Example[] {
  const blocks = codeBlocks(text).filter(({ language, rest }) => language === "ts" && rest === "");
  return blocks.map(({ line, code }) => ({ file, line, code, exported }));
}

function sources(folder: string): string[] {
  return [...Deno.readDirSync(folder)].toSorted((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    return isDirectory ? sources(path) : name.endsWith(".ts") ? [path] : [];
  });
}

/** A module whose default export runs an example. It finds its imports from any folder. */
export function exampleModule({ file, code, exported }: Example): string {
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
