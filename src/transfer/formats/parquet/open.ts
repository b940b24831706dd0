import { type Field, type RecordBatch, Schema, tableFromIPC } from "apache-arrow";
import { ParquetFile } from "parquet-wasm";
import { rowsOf } from "../arrow/open.ts";
import { asUnreadable, FileBytes } from "../file_bytes.ts";
import { type FileRows, unreadable } from "../file_rows.ts";
import { fileBlob } from "./file_blob.ts";
import { type Meaning, meanings } from "./meanings.ts";

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
    const found = await inspect(file);
    const parquet = await ParquetFile.fromFile(fileBlob(file));
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
async function inspect(file: FileBytes): Promise<Map<string, Meaning>> {
  const { name, size } = file;
  const head = size < LEAST_BYTES ? "" : textOf(await file.read(0, MAGIC.length));
  if (head === ENCRYPTED) throw unreadable(name, "it is encrypted");
  if (head !== MAGIC) throw unreadable(name, "it is no Parquet file");
  const tail = await file.read(size - TAIL_BYTES, TAIL_BYTES);
  if (textOf(tail.subarray(4)) !== MAGIC) {
    throw unreadable(name, "it begins as a Parquet file but does not end as one: it is cut off");
  }
  const length = new DataView(tail.buffer).getUint32(0, true);
  return meanings(await file.read(size - TAIL_BYTES - length, length));
}

/** Marks the fields that Arrow's own names for these meanings belong to. */
function withMeanings(schema: Schema, found: Map<string, Meaning>): Schema {
  return new Schema(schema.fields.map((field) => {
    const meaning = found.get(field.name);
    return meaning === undefined ? field : marked(field, meaning);
  }));
}

function marked(field: Field, meaning: Meaning): Field {
  const element = field.type.children?.[0] as Field | undefined;
  if (element === undefined) return field.clone({ metadata: new Map([["ARROW:extension:name", `arrow.${meaning}`]]) });
  const type = Object.assign(Object.create(Object.getPrototypeOf(field.type)), field.type, {
    children: [marked(element, meaning)],
  });
  return field.clone({ type });
}

function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
