import { requires } from "../../support/requirements.ts";
import { pythonWith } from "../../support/python.ts";

const MODULES = ["pyarrow", "polars", "duckdb"];

/** Why no other reader of columns runs here. */
export function pythonReadersMissing(): string | undefined {
  return pythonWith(...MODULES) === undefined ? `no Python with ${MODULES.join(", ")}` : undefined;
}

/** Files of other projects' suites that went wrong once; they lie beside the checkout, or beside its folder. */
const FOLDERS = ["../../../../shared/cases/", "../../../../../shared/cases/"].map((path) =>
  new URL(path, import.meta.url).pathname
);

/** The folder of those files; `undefined` if there is none. */
export function casesFolder(): string | undefined {
  return FOLDERS.find((folder) => {
    try {
      return Deno.statSync(folder).isDirectory;
    } catch {
      return false;
    }
  });
}

/** Why those files can't be read here. */
export function casesMissing(): string | undefined {
  return casesFolder() === undefined ? "no folder shared/cases beside the checkout" : undefined;
}

/** A test with a folder of its own, where there are other readers. */
export function fileTest(name: string, run: (folder: string) => Promise<void>): void {
  Deno.test({
    ...requires(name, pythonReadersMissing),
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await run(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

const DUCKDB = `
import duckdb, json, sys
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
def text(value):
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)
rows = connection.execute(sys.argv[1]).fetchall()
print(json.dumps([[text(value) for value in row] for row in rows]))
`;

/** What DuckDB answers, each value as its text. */
export async function duckdb(query: string): Promise<(string | null)[][]> {
  return await python(DUCKDB, query);
}

/** Runs a program of Python, and reads the JSON that it prints. */
export async function python<Answer>(program: string, ...args: string[]): Promise<Answer> {
  const command = new Deno.Command(pythonWith(...MODULES)!, { args: ["-c", program, ...args] });
  const { success, stdout, stderr } = await command.output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}
