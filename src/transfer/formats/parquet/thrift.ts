/** The field types of Thrift's compact protocol. */
export const Thrift = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  struct: 12,
} as const;

const UTF8 = new TextEncoder();

/** Writes a struct in Thrift's compact protocol. The page headers and the footer of a Parquet file are such structs. */
export class ThriftWriter {
  #bytes = new Uint8Array(256);
  #length = 0;
  /** The number of the last field in each open struct. */
  readonly #last: number[] = [0];

  /** Writes a whole number below 2^53. */
  integer(field: number, value: number, type: 4 | 5 | 6 = Thrift.i32): void {
    this.#field(field, type);
    this.#zigzag(value);
  }

  /** Writes a byte. */
  byte(field: number, value: number): void {
    this.#field(field, Thrift.byte);
    this.#byte(value);
  }

  /** Writes a boolean, which the protocol encodes in the type of the field. */
  bool(field: number, value: boolean): void {
    this.#field(field, value ? Thrift.true : Thrift.false);
  }

  /** Writes bytes, or a text as UTF-8. */
  binary(field: number, value: Uint8Array | string): void {
    this.#field(field, Thrift.binary);
    this.#binary(value);
  }

  /** Writes a struct; `write` writes its fields. */
  struct(field: number, write: () => void = () => {}): void {
    this.#field(field, Thrift.struct);
    this.#struct(write);
  }

  /** Writes a list of structs. */
  structs<Item>(field: number, items: readonly Item[], write: (item: Item) => void): void {
    this.#list(field, Thrift.struct, items.length);
    for (const item of items) this.#struct(() => write(item));
  }

  /** Writes a list of texts. */
  texts(field: number, items: readonly string[]): void {
    this.#list(field, Thrift.binary, items.length);
    for (const item of items) this.#binary(item);
  }

  /** Writes a list of whole numbers. */
  integers(field: number, items: readonly number[]): void {
    this.#list(field, Thrift.i32, items.length);
    for (const item of items) this.#zigzag(item);
  }

  /** Ends the outermost struct and returns all bytes. */
  end(): Uint8Array {
    this.#byte(0);
    return this.#bytes.subarray(0, this.#length);
  }

  #struct(write: () => void): void {
    this.#last.push(0);
    write();
    this.#last.pop();
    this.#byte(0);
  }

  #list(field: number, type: number, length: number): void {
    this.#field(field, Thrift.list);
    if (length < 15) return this.#byte((length << 4) | type);
    this.#byte(0xf0 | type);
    this.#varint(length);
  }

  /** Writes a field's header: its distance from the previous field, at most 15 in Parquet. Fields must ascend. */
  #field(field: number, type: number): void {
    const top = this.#last.length - 1;
    this.#byte(((field - this.#last[top]!) << 4) | type);
    this.#last[top] = field;
  }

  #binary(value: Uint8Array | string): void {
    const bytes = typeof value === "string" ? UTF8.encode(value) : value;
    this.#varint(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #zigzag(value: number): void {
    this.#varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** Divides instead of shifting, because positions in a file can exceed 32 bits. */
  #varint(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#byte((rest % 128) | 128);
    this.#byte(rest);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
