import { Message, RecordBatchFileWriter, type Schema } from "npm:apache-arrow@^21.2.0";
import { arrowSchema, checkTimes, recordBatch } from "../../columns/arrow_table.ts";
import type { Chunk } from "../../copy/messages.ts";
import type { EncodeContext } from "../encode.ts";
import { batches, Output } from "../output.ts";

/** What a record batch holds: small enough for a reader's cache, large enough that its own bytes don't count. */
const LIMIT = { rows: 65_536, bytes: 16 * 1_048_576 };

/** An Arrow IPC file, not compressed: readers map it into memory as it is. */
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

/** Arrow's own writer, whose queue would be another copy and another wait for each of its pieces. */
class FileWriter extends RecordBatchFileWriter {
  readonly #put: (bytes: Uint8Array) => void;

  constructor(put: (bytes: Uint8Array) => void) {
    super();
    this.#put = put;
  }

  /** With the schema also where a stream has it: Arrow's own leaves it out, and then nobody can read while it comes. */
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
