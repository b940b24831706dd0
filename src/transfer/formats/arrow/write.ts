import { Message, RecordBatchFileWriter, type Schema } from "npm:apache-arrow@21.2.0";
import { arrowSchema, checkTimes, recordBatch } from "../../columns/arrow_table.ts";
import type { Chunk } from "../../copy/messages.ts";
import type { EncodeContext } from "../encode.ts";
import { batches, Output } from "../output.ts";

/** The size of a record batch: small enough for a reader's cache, and large enough that the metadata is negligible. */
const LIMIT = { rows: 65_536, bytes: 16 * 1_048_576 };

/** Encodes rows as an Arrow IPC file, without compression, so that readers can map it into memory. */
export async function* encodeArrow(
  chunks: AsyncIterable<Chunk>,
  { columns, batches: ready }: EncodeContext,
): AsyncGenerator<Uint8Array, void, void> {
  const schema = arrowSchema(columns);
  const output = new Output();
  const writer = new FileWriter((bytes) => output.put(bytes));
  writer.reset(undefined, schema);
  let rows = 0;
  for await (const batch of ready ?? batches(chunks, columns, LIMIT)) {
    checkTimes(batch, rows);
    writer.write(recordBatch(batch, schema));
    if (output.isFull) yield* output.take();
    rows += batch.rows;
  }
  writer.finish();
  yield* output.take();
}

/** Bypasses the queue of apache-arrow's writer, which would copy each piece and wait for it. */
class FileWriter extends RecordBatchFileWriter {
  readonly #put: (bytes: Uint8Array) => void;

  constructor(put: (bytes: Uint8Array) => void) {
    super();
    this.#put = put;
  }

  /** Also writes the schema at the start, which apache-arrow leaves out, so that the file can be read as a stream. */
  protected override _writeSchema(schema: Schema): this {
    super._writeSchema(schema);
    return this._writeMessage(Message.from(schema));
  }

  protected override _write(chunk: ArrayBufferView): this {
    const { buffer, byteOffset, byteLength } = chunk;
    if (byteLength > 0) this.#put(new Uint8Array(buffer, byteOffset, byteLength));
    this._position += byteLength;
    return this;
  }
}
