import type { Buffer } from "node:buffer";
// @ts-types="@types/pg"
import pg from "pg";
import { to } from "npm:pg-copy-streams@7.0.0";
import { type BatchColumn, columnType } from "../../../src/transfer/columns/batch.ts";
import type { Chunk } from "../../../src/transfer/copy/messages.ts";
import type { Encode, EncodeContext } from "../../../src/transfer/formats/file_format.ts";
import { sharedPostgres } from "../../support/queries.ts";

/** A query's rows in the form of the server's COPY. */
export interface Copied {
  columns: BatchColumn[];
  chunks: Uint8Array<ArrayBuffer>[];
}

/** Copies a query's rows from a real PostgreSQL. */
export async function copied(query: string): Promise<Copied> {
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
export async function write(
  path: string,
  encode: Encode,
  { columns, chunks }: Copied,
  options: EncodeContext["options"] = {},
): Promise<number> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  for await (const bytes of encode(feed(chunks), { columns, options })) {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  }
  return (await file.stat()).size;
}

async function* feed(chunks: Copied["chunks"]): AsyncGenerator<Chunk, void, void> {
  for (const bytes of chunks) yield await Promise.resolve({ bytes, rows: 1 });
}
