import type { Buffer } from "node:buffer";
// @ts-types="@types/pg"
import pg from "pg";
import { to } from "npm:pg-copy-streams@7.0.0";
import { type BatchColumn, columnType } from "../../../src/transfer/columns/batch.ts";
import type { Chunk } from "../../../src/transfer/copy/messages.ts";
import type { ColumnarFile } from "../../../src/transfer/formats/columnar_reader.ts";
import type { Encode, EncodeContext } from "../../../src/transfer/formats/file_format.ts";
import { sharedPostgres } from "../../support/queries.ts";

/** A query's rows, as a COPY of the server gives them. */
export interface CopiedRows {
  columns: BatchColumn[];
  chunks: Uint8Array<ArrayBuffer>[];
}

/** Copies a query's rows from a real PostgreSQL. */
export async function copyRows(query: string): Promise<CopiedRows> {
  const { url } = await sharedPostgres();
  const client = new pg.Client({ connectionString: url, ssl: false });
  await client.connect();
  try {
    await client.query("SET timezone = 'UTC'");
    const { fields } = await client.query(`SELECT * FROM (${query}) AS q LIMIT 0`);
    const columns = fields.map(({ name, dataTypeID: oid, dataTypeModifier }) => ({
      name,
      oid,
      type: columnType(oid, dataTypeModifier).type,
    }));
    const chunks = await Array.fromAsync<Buffer>(client.query(to(`COPY (${query}) TO STDOUT (FORMAT binary)`)));
    return { columns, chunks: chunks.map((chunk) => new Uint8Array(chunk)) };
  } finally {
    await client.end();
  }
}

/** Writes rows to a file. Returns its length. */
export async function writeFile(
  path: string,
  encode: Encode,
  { columns, chunks }: CopiedRows,
  options: EncodeContext["options"] = {},
): Promise<number> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  for await (const bytes of encode(feed(chunks), { columns, options })) {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  }
  return (await file.stat()).size;
}

async function* feed(chunks: CopiedRows["chunks"]): AsyncGenerator<Chunk, void, void> {
  for (const bytes of chunks) yield await Promise.resolve({ bytes, rows: 1 });
}

/** The escapes of COPY's text format. */
const ESCAPES: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", "\\": "\\" };

/** Reads a file: the types of its columns, and the text of each value. */
export async function readAll(
  file: ColumnarFile,
): Promise<{ types: Record<string, string>; texts: (string | null)[][]; rows: number }> {
  await using open = file;
  const types = Object.fromEntries(open.columns.map(({ name, postgres }) => [name, postgres]));
  const columns = open.columns.map(({ name }, index) => ({ index, name, bytesAsText: false }));
  let text = "";
  let rows = 0;
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for await (const chunk of open.copy({ name: "the file", columns, expected: [] })) {
    text += decoder.decode(chunk.bytes, { stream: true });
    rows += chunk.rows;
  }
  const lines = text.split("\n").slice(0, -1);
  return { types, texts: lines.map((line) => columns.length === 0 ? [] : line.split("\t").map(textOf)), rows };
}

/** The text of a value in COPY's text format; `null` for NULL. */
function textOf(text: string): string | null {
  return text === "\\N" ? null : text.replace(/\\(.)/g, (_, letter: string) => ESCAPES[letter]!);
}
