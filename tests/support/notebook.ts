import { ROOT } from "./files.ts";

/** The output of a cell, in the form of a notebook file. */
export interface Output {
  output_type: "execute_result" | "display_data" | "stream" | "error";
  data?: Record<string, string | string[]>;
  name?: string;
  text?: string | string[];
  ename?: string;
  evalue?: string;
  traceback?: string[];
}

export interface Cell {
  cell_type: "code" | "markdown" | "raw";
  id?: string;
  source: string | string[];
  metadata: Record<string, unknown>;
  execution_count?: number | null;
  outputs?: Output[];
}

/** The parts of a notebook file that the tests read. */
export interface Notebook {
  cells: Cell[];
  metadata: { kernelspec: { name: string; display_name: string; language: string }; [name: string]: unknown };
  nbformat: number;
  nbformat_minor: number;
}

/** A notebook for a kernel, with these cells of code. */
export function notebookOf(cells: string[], kernel = "deno"): Notebook {
  return {
    cells: cells.map((source, index) => ({
      cell_type: "code",
      id: `cell-${index}`,
      source,
      metadata: {},
      execution_count: null,
      outputs: [],
    })),
    metadata: {
      kernelspec: {
        name: kernel,
        display_name: kernel,
        language: "typescript",
      },
      language_info: { name: "typescript" },
    },
    nbformat: 4,
    nbformat_minor: 5,
  };
}

/** A MIME type of an output, or the text of a stream. A file stores it as one text or as lines. */
export function textOf(
  output: Output | undefined,
  mime?: string,
): string | undefined {
  const text = mime === undefined ? output?.text : output?.data?.[mime];
  return Array.isArray(text) ? text.join("") : text;
}

/** A temporary folder whose notebooks can import `lakebase`, like those beside `deno.json`. */
export async function notebookFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "lakebase-notebooks-" });
  const { imports } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`)) as { imports: Record<string, string> };
  const absolute = Object.entries(imports).map(([name, to]) => [name, to.replace(/^\.\//, `file://${ROOT}`)]);
  await Deno.writeTextFile(`${path}/deno.json`, JSON.stringify({ imports: Object.fromEntries(absolute) }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
