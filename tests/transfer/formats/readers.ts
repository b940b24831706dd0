import { LineServer } from "../../support/line_server.ts";
import { pythonWith } from "../../support/python.ts";
import { requires } from "../../support/requirements.ts";

const MODULES = ["pyarrow", "polars", "duckdb"];

/** The reason why no other reader of columns runs here. */
export function pythonReadersMissing(): string | undefined {
  return pythonWith(...MODULES) === undefined ? `no Python with ${MODULES.join(", ")}` : undefined;
}

/** Files of other projects' suites that once caused errors. They are beside the checkout, or beside its folder. */
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

/** The reason why those files can't be read here. */
export function casesMissing(): string | undefined {
  return casesFolder() === undefined ? "no folder shared/cases beside the checkout" : undefined;
}

/** A test with a separate folder, if other readers are installed. */
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

/** DuckDB's answer, with each value as its text. */
export async function duckdb(query: string): Promise<(string | null)[][]> {
  return await python(DUCKDB, query);
}

/**
 * Answers each request with the output of its Python program. One process is used, because the imports take a second of
 * processor time.
 */
const SERVER = `
import contextlib, io, json, sys, traceback
import duckdb, polars, pyarrow, pyarrow.feather, pyarrow.ipc, pyarrow.parquet
answers = sys.stdout
for line in sys.stdin:
    request = json.loads(line)
    sys.argv = ["-c", *request["args"]]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(request["program"], {"__name__": "__main__"})
        reply = {"answer": json.loads(printed.getvalue())}
    except Exception:
        reply = {"failure": traceback.format_exc()}
    print(json.dumps(reply), file=answers, flush=True)
`;

let server: LineServer | undefined;

// Before all tests, so that the process does not belong to a test.
Deno.test.beforeAll(() => {
  const interpreter = pythonWith(...MODULES);
  if (interpreter !== undefined) server = new LineServer("Python", interpreter, { args: ["-c", SERVER] });
});
Deno.test.afterAll(async () => {
  await server?.close();
  server = undefined;
});

/** Runs a Python program, and reads the JSON that it prints. One process runs the programs of all tests. */
export async function python<Answer>(program: string, ...args: string[]): Promise<Answer> {
  if (server === undefined) throw new Error(pythonReadersMissing());
  return await server.ask<Answer>({ program, args });
}
