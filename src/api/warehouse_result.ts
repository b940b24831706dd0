import { concatBytes } from "../core/bytes.ts";
import { LakebaseError } from "../core/errors.ts";
import { lazyImport, loadModule } from "../core/lazy_import.ts";
import { BUILT_IN } from "../core/type_names.ts";
import type { ResultOrigin } from "../draw/table.ts";
import { arrowChunks } from "../lake/links.ts";
import { fieldsOfManifest, intervalText, postgresType, readNested, typeOf, type WarehouseType } from "../lake/types.ts";
import type { WarehouseResult } from "../lake/warehouse.ts";
import type { Field } from "../sql/result.ts";
import type { Batch, BatchColumn, ColumnData, ColumnType } from "../transfer/columns/batch.ts";
import type { Columns } from "../transfer/columns/columns.ts";
import type { ValueReader } from "../transfer/columns/value.ts";

/** A result with its columns and its rows. */
export interface OpenedResult {
  result: WarehouseResult;
  fields: readonly Field[];
  /** The columns as they are in memory. */
  columns: readonly BatchColumn[];
  /** The rows, which can be read once. */
  batches: AsyncIterable<Batch>;
}

/** Reads the chunks of a result as batches. */
export async function openResult(result: WarehouseResult): Promise<OpenedResult> {
  const fields = fieldsOfManifest(result.columns);
  const types = result.columns.map(typeOf);
  if (result.source.count === 0) {
    const stored = await storageWithoutRows(types);
    return { result, ...storedAs(fields, stored), batches: (async function* () {})() };
  }
  const arrow = import.meta.resolve("../transfer/formats/arrow/open.ts");
  await (await loadModule(() => import("../transfer/formats/file_format.ts"))).loadArrow();
  const { openArrowStreams } = await lazyImport<typeof import("../transfer/formats/arrow/open.ts")>(arrow);
  const opened = await openArrowStreams(arrowChunks(result.source));
  if (opened.columns.length !== fields.length) {
    await opened[Symbol.asyncDispose]();
    throw new LakebaseError(
      "WORKSPACE_UNAVAILABLE",
      `Cannot read the result: it has ${opened.columns.length} columns, and its description ${fields.length}`,
    );
  }
  const stored = opened.columns.map(({ type }, at) => storedType(type, types[at]!));
  const all = fields.map((_, at) => at);
  const batches = async function* () {
    for await (const { rows, columns: data } of opened.batches(all)) {
      yield { rows, columns: data.map((column, at) => ({ ...column, type: stored[at]! })) };
    }
  };
  return { result, ...storedAs(fields, stored), batches: batches() };
}

/** The fields and the columns of values that are stored in the given way. */
function storedAs(fields: readonly Field[], stored: readonly ColumnType[]): Pick<OpenedResult, "fields" | "columns"> {
  const typed = fields.map((field, at) => ({ ...field, oid: oidOf(field, stored[at]!) }));
  return { fields: typed, columns: typed.map(({ name, oid }, at) => ({ name, oid, type: stored[at]! })) };
}

/** Reads batches as rows of texts, as Postgres writes their values. */
export async function* textsOf(
  batches: AsyncIterable<Batch>,
  fields: readonly Field[],
): AsyncGenerator<(string | null)[][], void, void> {
  const { serverText } = await loadModule(() => import("../transfer/pull/in_memory.ts"));
  for await (const { rows, columns } of batches) {
    const cells = columns.map((column, at) => {
      const read = serverText(column);
      if (fields[at]!.oid !== INTERVAL) return read;
      return (row: number) => {
        const text = read(row);
        return text === null ? null : intervalText(text);
      };
    });
    yield Array.from({ length: rows }, (_, row) => cells.map((cell) => cell(row)));
  }
}

/** How a column of Arrow is stored. Nested values may arrive as JSON texts. */
function storedType(type: ColumnType, warehouse: WarehouseType): ColumnType {
  return type.kind === "text" && postgresType(warehouse) === "jsonb" ? { kind: "json" } : type;
}

/** The oid of a column's type; for a list, that of the array type. */
function oidOf({ oid }: Field, type: ColumnType): number {
  if (type.kind !== "list") return oid;
  const name = LIST_ELEMENTS[type.element.kind === "timestamp" && type.element.utc ? "timestamptz" : type.element.kind];
  return BUILT_IN[name ?? "text"]![1];
}

const LIST_ELEMENTS: Readonly<Record<string, string>> = {
  bool: "bool",
  int16: "int2",
  int32: "int4",
  int64: "int8",
  uint32: "oid",
  float32: "float4",
  float64: "float8",
  decimal: "numeric",
  date: "date",
  time: "time",
  timestamp: "timestamp",
  timestamptz: "timestamptz",
  uuid: "uuid",
  text: "text",
  json: "jsonb",
  binary: "bytea",
};

/** How the values of an empty result would be stored, so that a new table has the same types with and without rows. */
async function storageWithoutRows(types: readonly WarehouseType[]): Promise<ColumnType[]> {
  const { columnType } = await loadModule(() => import("../transfer/columns/batch.ts"));
  const stored = (type: WarehouseType): ColumnType => {
    const element = type.name === "ARRAY" ? type.parts?.get("") : undefined;
    if (element !== undefined && element.parts === undefined) return { kind: "list", element: stored(element) };
    const [precision, scale] = type.digits ?? [];
    const modifier = precision === undefined ? -1 : (precision << 16 | scale!) + 4;
    return columnType(BUILT_IN[postgresType(type)]![0], modifier).type;
  };
  return types.map(stored);
}

/** A chunk with the columns of a result that has no rows. */
export async function* emptyChunk(result: WarehouseResult): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const { columns, batches } = await openResult(result);
  const { ENCODERS } = await loadModule(() => import("../transfer/formats/file_format.ts"));
  const encoded = (await ENCODERS.arrow())((async function* () {})(), { columns, batches, options: {} });
  yield concatBytes(await Array.fromAsync(encoded));
}

/** The rows of a batch as objects. */
export async function rowsOf<Row>(batch: Batch, { fields }: OpenedResult): Promise<Iterable<Row>> {
  return (await columnsOf(batch, fields, 0, {})).rows<Row>();
}

/** A batch as the columns that people hold. */
export async function columnsOf(
  batch: Batch,
  fields: readonly Field[],
  elapsed: number,
  origin: ResultOrigin,
): Promise<Columns> {
  const { Columns } = await loadModule(() => import("../transfer/columns/columns.ts"));
  const reader = await nestedReaders(fields);
  return new Columns({ batch, fields, elapsed, origin, find: cannotLoad, reader });
}

/** Reads nested values by the types inside them, and intervals, as an inline result has them. */
async function nestedReaders(
  fields: readonly Field[],
): Promise<(field: Field, data: ColumnData) => ValueReader | undefined> {
  const { valueReader } = await loadModule(() => import("../transfer/columns/value.ts"));
  const types = new Map(fields.map((field) => [field.key, typeOf({ name: field.name, type_text: field.type })]));
  return ({ key, oid }, data) => {
    const type = types.get(key)!;
    if (data.type.kind === "list" && type.parts?.get("")?.name === "INTERVAL") {
      const lists = valueReader(data);
      return (row) => (lists(row) as (string | null)[] | null)?.map((text) => text && intervalText(text)) ?? null;
    }
    const read = data.type.kind === "json"
      ? (text: string) => readNested(text, type)
      : oid === INTERVAL
      ? intervalText
      : undefined;
    if (read === undefined) return undefined;
    const texts = valueReader({ ...data, type: { kind: "text" } });
    return (row) => {
      const text = texts(row) as string | null;
      return text === null ? null : read(text);
    };
  };
}

const INTERVAL = BUILT_IN["interval"]![0];

/** The type of a new table's column, if Arrow has the values as text. */
export function typeForTable(type: WarehouseType): string | undefined {
  const name = postgresType(type);
  return name === "jsonb" || name === "interval" ? name : undefined;
}

function cannotLoad(): Promise<never> {
  return Promise.reject(
    new LakebaseError(
      "BAD_PARAMETER",
      "Cannot load: these columns came from a SQL warehouse, which has no tables of Postgres; use db.load(table, columns)",
    ),
  );
}
