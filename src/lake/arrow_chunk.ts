/** A chunk that can't be used; reading it again may help. Its message never has the chunk's address. */
export class BrokenChunk extends Error {}

/** A chunk, which is a stream in Arrow's IPC format. */
export interface ArrowChunk {
  /** All of it. */
  bytes: Uint8Array<ArrayBuffer>;
  /** A copy of the message with the schema. */
  schema: Uint8Array;
  /** The number of rows. */
  rows: number;
}

/** The start of each message. Messages from before 2019 start with their length instead. */
const CONTINUATION = -1;
/** Values of `MessageHeader` (Message.fbs). */
const IS_SCHEMA = 1;
const IS_RECORD_BATCH = 3;
/** Vtable offsets of fields in Message.fbs. Each entry takes two bytes. */
const HEADER_TYPE = 6;
const HEADER = 8;
const BODY_LENGTH = 10;
const BATCH_LENGTH = 4;

/**
 * Finds the messages of a chunk, and checks that it is whole.
 *
 * @throws {BrokenChunk} If it is no Arrow, or is cut off.
 */
export function readChunk(bytes: Uint8Array<ArrayBuffer>): ArrowChunk {
  try {
    return walk(bytes);
  } catch (error) {
    throw error instanceof RangeError ? new BrokenChunk("it is damaged") : error; // an offset that leads out of the bytes
  }
}

function walk(bytes: Uint8Array<ArrayBuffer>): ArrowChunk {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let schemaEnd = 0;
  let rows = 0;
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw cutOff(bytes, at);
    const first = view.getInt32(at, true);
    const start = at + (first === CONTINUATION ? 8 : 4);
    const length = first === CONTINUATION ? view.getInt32(at + 4, true) : first;
    if (length === 0) break;
    if (length < 0 || at === 0 && start + length > bytes.length) throw new BrokenChunk(noArrow(bytes));
    const message = start + length > bytes.length ? undefined : readMessage(view, start);
    const end = message === undefined ? Infinity : start + length + message.body;
    if (message === undefined || end > bytes.length) throw cutOff(bytes, at);
    if (at === 0) {
      if (message.type !== IS_SCHEMA) throw new BrokenChunk("it does not begin with a schema");
      schemaEnd = end;
    }
    rows += message.rows;
    at = end;
  }
  if (schemaEnd === 0) throw new BrokenChunk(bytes.length === 0 ? "it is empty" : noArrow(bytes));
  return { bytes, schema: bytes.slice(0, schemaEnd), rows };
}

function cutOff(bytes: Uint8Array, at: number): BrokenChunk {
  return new BrokenChunk(`it is cut off: ${bytes.length} bytes, and the message at byte ${at} goes on`);
}

function noArrow(bytes: Uint8Array): string {
  return /^\s*</.test(new TextDecoder("latin1").decode(bytes.subarray(0, 100))) ? "it is a web page" : "it is no Arrow";
}

/** Reads the metadata of a message, a table of FlatBuffers. */
function readMessage(view: DataView, start: number): { type: number; body: number; rows: number } {
  const field = (table: number, place: number): number | undefined => {
    const vtable = table - view.getInt32(table, true);
    const offset = place < view.getUint16(vtable, true) ? view.getUint16(vtable + place, true) : 0;
    return offset === 0 ? undefined : table + offset;
  };
  const long = (at: number | undefined) => at === undefined ? 0 : Number(view.getBigInt64(at, true));
  const root = start + view.getUint32(start, true);
  const typeAt = field(root, HEADER_TYPE);
  const type = typeAt === undefined ? 0 : view.getUint8(typeAt);
  const body = long(field(root, BODY_LENGTH));
  if (body < 0) throw new BrokenChunk("it is damaged");
  const header = field(root, HEADER);
  const isBatch = type === IS_RECORD_BATCH && header !== undefined;
  return { type, body, rows: isBatch ? long(field(header + view.getUint32(header, true), BATCH_LENGTH)) : 0 };
}

/** Whether two pieces have the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
