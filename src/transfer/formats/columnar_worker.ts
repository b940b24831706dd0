import { parentPort } from "node:worker_threads";
import type { Batch, ColumnData, ColumnValues } from "../columns/batch.ts";
import { boundLists } from "./arrow/open.ts";
import type { FromReader, ToReader } from "./columnar_reader.ts";
import { fileName, type FileRows, unreadable } from "./file_rows.ts";

boundLists();

let name = fileName(undefined);
let rows: FileRows | undefined;
let batches: AsyncIterator<Batch> | undefined;
let wanted = Promise.withResolvers<Uint8Array | undefined>();

// A library that fails where no `catch` is would end the worker, and the runtime print where.
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  say({ kind: "failed", message: unreadable(name, `it is damaged (${event.message})`).message });
});

parentPort!.on("message", (message: ToReader) => {
  if (message.kind === "bytes") wanted.resolve(message.bytes);
  else answer(message).catch((error) => say({ kind: "failed", message: messageOf(error) }));
});

async function answer(question: Exclude<ToReader, { kind: "bytes" }>): Promise<void> {
  if (question.kind === "open") {
    name = fileName(question.path);
    await rows?.[Symbol.asyncDispose](); // the file before
    rows = await open(question.format, question.path);
    batches = rows.batches[Symbol.asyncIterator]();
    return say({ kind: "opened", columns: rows.columns });
  }
  const { value, done } = await batches!.next();
  if (done) return say({ kind: "batch", batch: undefined });
  const buffers = new Set<ArrayBuffer>();
  const batch = { ...value, columns: value.columns.map((column: ColumnData) => ownColumn(column, buffers)) };
  say({ kind: "batch", batch }, [...buffers]);
}

async function open(format: "arrow" | "parquet", path: string | undefined): Promise<FileRows> {
  if (format === "parquet") return await (await import("./parquet/open.ts")).openParquet(path!);
  return await (await import("./arrow/open.ts")).openArrow(path ?? asked());
}

/** The bytes of a stream, which only the other side has. */
async function* asked(): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    wanted = Promise.withResolvers();
    say({ kind: "more" });
    const bytes = await wanted.promise;
    if (bytes === undefined) return;
    yield bytes;
  }
}

/** A column in memory that can be given away: a view of something larger would take along what others still need. */
function ownColumn(column: ColumnData, buffers: Set<ArrayBuffer>): ColumnData {
  const { nullBitmap, values, offsets, child } = column;
  return {
    ...column,
    values: own(values, buffers),
    ...(nullBitmap === undefined ? {} : { nullBitmap: own(nullBitmap, buffers) }),
    ...(offsets === undefined ? {} : { offsets: own(offsets, buffers) }),
    ...(child === undefined ? {} : { child: ownColumn(child, buffers) }),
  };
}

function own<Values extends ColumnValues>(values: Values, buffers: Set<ArrayBuffer>): Values {
  const whole = values.byteLength === values.buffer.byteLength && !buffers.has(values.buffer as ArrayBuffer);
  const kept = whole ? values : values.slice() as Values;
  buffers.add(kept.buffer as ArrayBuffer);
  return kept;
}

function say(message: FromReader, transfer: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, transfer);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
