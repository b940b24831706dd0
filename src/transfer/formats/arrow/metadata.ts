import { ByteBuffer } from "npm:flatbuffers@^25.1.24";
import { NotTakenOver } from "../file_rows.ts";

/** Where a list's length is read, in the library that Arrow reads its metadata with. */
const { __vector_len: lengthOf } = ByteBuffer.prototype;

/**
 * Has lists in the metadata be no longer than the metadata. The library checks nothing, and Arrow's reader makes as many
 * objects as a damaged length says. For a worker, where it concerns nobody else.
 */
export function boundLists(): void {
  ByteBuffer.prototype.__vector_len = function (offset: number): number {
    const length = lengthOf.call(this, offset);
    if (length >= 0 && length <= this.capacity()) return length;
    throw new Error("its metadata has a list that is longer than itself");
  };
}

/** The greatest `MetadataVersion` of Schema.fbs, which is called V5. */
const NEWEST = 4;
/** `Endianness`. */
const BIG = 1;
/** `MessageHeader`. */
const IS_SCHEMA = 1;

/** Places in the tables of Message.fbs, File.fbs and Schema.fbs; each is two bytes behind the one before. */
const VERSION = 4;
const FOOTER_SCHEMA = 6;
const HEADER_TYPE = 6;
const HEADER = 8;
const ENDIANNESS = 4;

/**
 * Checks what Arrow's reader does not look at.
 *
 * @param bytes The message with the schema, or the footer of a file.
 * @throws {NotTakenOver} For big-endian values, and for a version that is not known yet.
 */
export function checkMetadata(bytes: Uint8Array, kind: "message" | "footer"): void {
  const buffer = new ByteBuffer(bytes);
  const root = buffer.readInt32(0);
  const field = (table: number, place: number) => {
    const offset = buffer.__offset(table, place);
    return offset === 0 ? undefined : table + offset;
  };
  const version = field(root, VERSION);
  const found = version === undefined ? 0 : buffer.readInt16(version);
  if (found > NEWEST) {
    throw new NotTakenOver(`it is of version V${found + 1} of Arrow's format; up to V${NEWEST + 1} can be read here`);
  }
  const type = field(root, HEADER_TYPE);
  if (kind === "message" && (type === undefined || buffer.readUint8(type) !== IS_SCHEMA)) return;
  const schema = field(root, kind === "message" ? HEADER : FOOTER_SCHEMA);
  if (schema === undefined) return;
  const endianness = field(buffer.__indirect(schema), ENDIANNESS);
  if (endianness !== undefined && buffer.readInt16(endianness) === BIG) {
    throw new NotTakenOver("it is big-endian; write it on, or for, a little-endian machine");
  }
}
