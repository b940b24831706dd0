import { ROOT } from "../support/files.ts";

/** A block of code. */
export interface CodeBlock {
  /** The language, such as `sh`. */
  language: string;
  /** The text after the language: `ignore` for a block that does not run here. */
  rest: string;
  code: string;
  /** The heading above the block. */
  heading: string;
  line: number;
}

/** The documents whose code is run: README.md, then the pages of docs/. */
export async function runDocuments(): Promise<string[]> {
  const pages: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}docs`)) if (name.endsWith(".md")) pages.push(`docs/${name}`);
  return ["README.md", ...pages.toSorted()];
}

/** Reads a document of the checkout. */
export async function readDocument(name: string): Promise<string> {
  return await Deno.readTextFile(ROOT + name);
}

/** The blocks of code of a document, in their order. */
export function codeBlocks(text: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let heading = "";
  let open: CodeBlock | undefined;
  for (const [at, line] of text.split("\n").entries()) {
    if (open === undefined && line.startsWith("## ")) heading = line.slice(3);
    const fence = /^```(\w*) ?(.*)$/.exec(line);
    if (fence === null) {
      if (open !== undefined) open.code += `${line}\n`;
    } else if (open === undefined) {
      open = { language: fence[1]!, rest: fence[2]!, code: "", heading, line: at + 1 };
    } else {
      blocks.push(open);
      open = undefined;
    }
  }
  return blocks;
}

/** The rows of the first table under a heading, without its head. */
export function tableUnder(text: string, heading: string): string[][] {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.replace(/^#+ /, "") === heading && line.startsWith("#"));
  if (start < 0) throw new Error(`no heading ${heading}`);
  const first = lines.findIndex((line, at) => at > start && line.startsWith("|"));
  const end = lines.findIndex((line, at) => at > first && !line.startsWith("|"));
  return lines.slice(first + 2, end).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** The text between backticks. */
export function codeIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}
