import { type DataType, type Field, type RecordBatchReader, Schema, Type } from "npm:apache-arrow@21.2.0";

/** The part of Arrow's reader that turns a message into columns. It has no public way to leave columns out. */
interface Loader {
  schema: Schema;
  _loadRecordBatch(header: BatchHeader, body: Uint8Array, metadata: unknown): unknown;
  _loadDictionaryBatch(header: { id: number }, body: Uint8Array): unknown;
}

/** The header of a batch. It lists the nodes and the buffers of all columns, one column after another. */
interface BatchHeader {
  length: number;
  nodes: readonly unknown[];
  buffers: readonly unknown[];
  compression: unknown;
  /** The number of data buffers of each column of views. */
  variadicBufferCounts: readonly number[];
}

/** The number of entries of each list of the header that belong to a column. */
interface Share {
  nodes: number;
  buffers: number;
  variadic: number;
}

/**
 * Makes a reader load only these columns, in this order. Otherwise it would decompress the buffers of all columns, and
 * load all dictionaries.
 */
export function loadColumns(reader: RecordBatchReader, columns: readonly number[]): void {
  const loader = (reader as unknown as { _impl: Loader })._impl;
  const { _loadRecordBatch: loadBatch, _loadDictionaryBatch: loadDictionary } = loader;
  loader._loadRecordBatch = function (header, body, metadata) {
    const all = this.schema; // a stream may repeat the schema between two batches
    const chosen = chosenSchema(all, columns);
    try {
      this.schema = chosen;
      return loadBatch.call(this, chosenHeader(header, all.fields, columns), body, metadata);
    } finally {
      this.schema = all;
    }
  };
  loader._loadDictionaryBatch = function (header, body) {
    const { dictionaries } = chosenSchema(this.schema, columns);
    return dictionaries.has(header.id) ? loadDictionary.call(this, header, body) : undefined;
  };
}

function chosenSchema(all: Schema, columns: readonly number[]): Schema {
  const fields = columns.map((column) => all.fields[column]);
  if (fields.includes(undefined)) throw new Error("it has a second schema with fewer columns");
  return new Schema(fields as Field[], all.metadata, null, all.metadataVersion);
}

function chosenHeader(header: BatchHeader, fields: readonly Field[], columns: readonly number[]): BatchHeader {
  const { length, compression, nodes, buffers, variadicBufferCounts } = header;
  const wanted = new Set(columns);
  const ranges: { from: Share; until: Share }[] = [];
  let from: Share = { nodes: 0, buffers: 0, variadic: 0 };
  fields.forEach(({ type }, column) => {
    const until = { ...from };
    addShare(type, until, header);
    if (wanted.has(column)) ranges.push({ from, until });
    from = until;
  });
  const part = <T>(list: readonly T[], of: keyof Share): T[] =>
    ranges.flatMap(({ from, until }) => list.slice(from[of], until[of]));
  return {
    length,
    compression,
    nodes: part(nodes, "nodes"),
    buffers: part(buffers, "buffers"),
    variadicBufferCounts: part(variadicBufferCounts, "variadic"),
  };
}

/**
 * Adds the entries that a column of this type takes from the lists, including the columns inside it (Arrow columnar
 * format, "Buffer Listing").
 */
function addShare(type: DataType, share: Share, header: BatchHeader): void {
  share.nodes++;
  share.buffers += buffersOf(type);
  if (type.typeId === Type.Utf8View || type.typeId === Type.BinaryView) {
    share.buffers += header.variadicBufferCounts[share.variadic++] ?? 0;
  }
  // The values of a dictionary are in batches of their own.
  if (type.typeId !== Type.Dictionary) { for (const child of type.children ?? []) addShare(child.type, share, header); }
}

/** The number of buffers of a column itself. Unions are not read. */
function buffersOf({ typeId }: DataType): number {
  switch (typeId) {
    case Type.Null:
      return 0;
    case Type.Struct:
    case Type.FixedSizeList:
      return 1;
    case Type.Utf8:
    case Type.LargeUtf8:
    case Type.Binary:
    case Type.LargeBinary:
      return 3;
    default:
      return 2; // a bitmap, and offsets or values
  }
}
