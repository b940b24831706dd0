import { joinBytes } from "../../join_bytes.ts";
import { Thrift } from "./thrift.ts";

/** A struct's fields by their numbers. Bytes stay bytes; a number above 2^53 loses its last digits. */
export class ThriftStruct extends Map<number, ThriftValue> {
  /** Where each field begins among the bytes, and last the struct's end. */
  readonly places: number[] = [];

  /**
   * The bytes without one of the fields.
   *
   * @param bytes Those that were read, but for what came after this struct.
   */
  without(field: number, bytes: Uint8Array): Uint8Array {
    const place = [...this.keys()].indexOf(field);
    const [from, to] = [this.places[place]!, this.places[place + 1]!];
    const [own, next] = [bytes[from]!, bytes[to]!];
    // In its upper half a field's head has its distance from the field before; where that is 0 its number follows.
    if (own < 16 || next > 0 && next < 16) throw new Error("its footer numbers its fields in an unusual way");
    const left = joinBytes([bytes.subarray(0, from), bytes.subarray(to)]);
    if (next > 0) left[from] = next + (own & 0xf0);
    return left;
  }
}

/** A value of a struct. */
export type ThriftValue = boolean | number | Uint8Array | ThriftValue[] | ThriftStruct;

/** Structs within structs; Parquet's own are not that deep. */
const DEEPEST = 64;

/**
 * Reads a struct of Thrift's compact protocol, as in the footer of a Parquet file.
 *
 * @throws {Error} For what is none.
 */
export function readThrift(bytes: Uint8Array): ThriftStruct {
  return new Reader(bytes).struct(0);
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  struct(depth: number): ThriftStruct {
    if (depth > DEEPEST) throw new Error("its footer has no end");
    const fields = new ThriftStruct();
    let field = 0;
    for (;;) {
      fields.places.push(this.#at);
      const head = this.#byte();
      if (head === 0) return fields;
      const step = head >> 4;
      field = step === 0 ? this.#zigzag() : field + step;
      fields.set(field, this.#value(head & 15, depth));
    }
  }

  #value(type: number, depth: number): ThriftValue {
    switch (type) {
      case Thrift.true:
      case Thrift.false:
        return type === Thrift.true;
      case Thrift.byte:
        return this.#byte();
      case Thrift.i16:
      case Thrift.i32:
      case Thrift.i64:
        return this.#zigzag();
      case Thrift.double:
        return this.#take(8);
      case Thrift.binary:
        return this.#take(this.#varint());
      case Thrift.list:
      case Thrift.set:
        return this.#list(depth);
      case Thrift.struct:
        return this.struct(depth + 1);
      default:
        throw new Error(`its footer has a field of the type ${type}`);
    }
  }

  #list(depth: number): ThriftValue[] {
    const head = this.#byte();
    const length = head >> 4 === 15 ? this.#varint() : head >> 4;
    if (length > this.#bytes.length - this.#at) throw new Error("its footer has a list that is longer than itself");
    // Only outside of a list a truth value is part of its field's type.
    const isTruth = (head & 15) === Thrift.true || (head & 15) === Thrift.false;
    return Array.from({ length }, () => isTruth ? this.#byte() === 1 : this.#value(head & 15, depth));
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new Error("its footer breaks off");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #zigzag(): number {
    const value = this.#varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  #varint(): number {
    let value = 0;
    for (let weight = 1; weight < 2 ** 70; weight *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * weight;
      if (byte < 128) return value;
    }
    throw new Error("its footer has a number without end");
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Error("its footer breaks off");
    return byte;
  }
}
