import { ByteBuffer } from "npm:flatbuffers@^25.1.24";

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
