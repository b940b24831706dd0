import { DuckDBInstance } from "@duckdb/node-api";
import { pythonWith } from "../../support/python.ts";

/** Why Python can't read columns here. */
export function pythonReadersMissing(): string | undefined {
  return pythonWith("pyarrow", "polars") === undefined ? "no Python with pyarrow and polars" : undefined;
}

/** What DuckDB answers, each value as its text. */
export async function duckdb(query: string): Promise<(string | null)[][]> {
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const rows = await connection.runAndReadAll(query);
    return rows.getRowsJson().map((row) => row.map((value) => value === null ? null : String(value)));
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** Runs a program of Python, and reads the JSON that it prints. */
export async function python<Answer>(program: string, ...args: string[]): Promise<Answer> {
  const command = new Deno.Command(pythonWith("pyarrow", "polars")!, { args: ["-c", program, ...args] });
  const { success, stdout, stderr } = await command.output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}
