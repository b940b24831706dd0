import { type Field, type RecordBatch, Schema, tableFromIPC } from "npm:apache-arrow@^21.2.0";
import { ParquetFile } from "npm:parquet-wasm@0.8.0";
import { rowsOf } from "../arrow/open.ts";
import { asUnreadable, FileBytes } from "../file_bytes.ts";
import { type FileRows, unreadable } from "../file_rows.ts";
import { joinBytes } from "../../join_bytes.ts";
import { type Meaning, meanings, withoutIntervals } from "./meanings.ts";
import { readThrift } from "./thrift_reader.ts";

const MAGIC = "PAR1";
const ENCRYPTED = "PARE";
/** The magic twice, and the footer's length. */
const LEAST_BYTES = 12;
const TAIL_BYTES = 8;

/** Rows that are read together; the library's own choice is 1,024. */
const BATCH_ROWS = 65_536;

/**
 * Opens a Parquet file.
 *
 * @throws {LakebaseError} `BAD_FILE`
 */
export async function openParquet(path: string): Promise<FileRows> {
  const file = await FileBytes.open(path);
  const close = () => file[Symbol.asyncDispose]();
  try {
    const { found, blob } = await inspect(file);
    const parquet = await ParquetFile.fromFile(blob);
    // The file's own schema may say otherwise than its rows come: a view of text comes as text.
    const { schema } = tableFromIPC((await parquet.read({ rowGroups: [] })).intoIPCStream());
    const arrow = { schema: withMeanings(schema, found), batches: groups(parquet) };
    return { ...rowsOf(arrow, file.name), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw asUnreadable(file.name, error);
  }
}

async function* groups(parquet: ParquetFile): AsyncGenerator<RecordBatch, void, void> {
  const count = parquet.metadata().numRowGroups();
  for (let group = 0; group < count; group++) {
    const table = await parquet.read({ rowGroups: [group], batchSize: BATCH_ROWS });
    yield* tableFromIPC(table.intoIPCStream()).batches;
  }
}

/** Looks at the file's ends before anything is loaded to read it. */
async function inspect(file: FileBytes): Promise<{ found: (Meaning | undefined)[]; blob: Blob }> {
  const { name, size } = file;
  const head = size < LEAST_BYTES ? "" : textOf(await file.read(0, MAGIC.length));
  if (head === ENCRYPTED) throw unreadable(name, "it is encrypted");
  if (head !== MAGIC) throw unreadable(name, "it is no Parquet file");
  const tail = await file.read(size - TAIL_BYTES, TAIL_BYTES);
  if (textOf(tail.subarray(4)) !== MAGIC) {
    throw unreadable(name, "it begins as a Parquet file but does not end as one: it is cut off");
  }
  const length = new DataView(tail.buffer).getUint32(0, true);
  const bytes = await file.read(size - TAIL_BYTES - length, length);
  const footer = readThrift(bytes);
  const plain = withoutIntervals(bytes, footer);
  const end = joinBytes([plain, new Uint8Array(Uint32Array.of(plain.length).buffer), tail.subarray(4)]);
  return { found: meanings(footer), blob: fileBlob(file, end, size - TAIL_BYTES - length) };
}

/**
 * A file as the library asks for it: a true `Blob` of a file would be all of it in memory.
 *
 * @param end What it ends with, from a place on, in the place of its own.
 */
function fileBlob(file: FileBytes, end: Uint8Array, place: number): Blob {
  const size = place + end.length;
  const slice = (from = 0, to = size) => ({
    arrayBuffer: async () => {
      const own = await file.read(from, Math.max(0, Math.min(to, place) - from));
      const rest = end.slice(Math.max(0, from - place), Math.max(0, to - place));
      return joinBytes([own, rest].filter(({ length }) => length > 0)).buffer;
    },
  });
  return { size, slice } as unknown as Blob;
}

/** Marks the leaves with what they mean. */
function withMeanings(schema: Schema, found: readonly (Meaning | undefined)[]): Schema {
  let leaf = 0;
  const marked = (field: Field): Field => {
    const children = (field.type.children ?? []) as Field[];
    if (children.length === 0) return named(field, found[leaf++]);
    const own = Object.create(Object.getPrototypeOf(field.type));
    return field.clone({ type: Object.assign(own, field.type, { children: children.map(marked) }) });
  };
  const fields = schema.fields.map(marked);
  if (leaf !== found.length) throw new Error(`its schema has ${found.length} columns, of which ${leaf} are there`);
  return new Schema(fields);
}

function named(field: Field, meaning: Meaning | undefined): Field {
  return meaning === undefined ? field : field.clone({ metadata: new Map([["ARROW:extension:name", meaning]]) });
}

function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
