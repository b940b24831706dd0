import { LakebaseError, optionText } from "../../core/errors.ts";
import { HIVE_NULL } from "../formats/file_format.ts";
import { badFile } from "./bytes.ts";
import type { DataFile } from "./dataset_files.ts";
import { type Dialect, usualDialect } from "./dialect.ts";
import type { Incoming, IncomingCopy } from "./incoming.ts";
import type { FileType } from "./infer.ts";
import { badData } from "./options.ts";
import { type LoadTable, matchColumns, type NameSource } from "./table.ts";

/** A file and the partitions that its folders name. */
export interface PartitionedFile extends DataFile {
  /** The values of the partitions by name; `null` for NULL. */
  partitions: ReadonlyMap<string, string | null>;
}

/**
 * The hive partitions of a path: its folders named `name=value`.
 *
 * @returns The values by name, in the path's order; `null` for `__HIVE_DEFAULT_PARTITION__`.
 * @throws {LakebaseError} `BAD_FILE` for a repeated name, and for a name without a value.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual([...partitionsOf("trips/year=2025/zone=Caf%C3%A9/part-0.csv")], [["year", "2025"], ["zone", "Café"]]);
 * ```
 */
export function partitionsOf(path: string): Map<string, string | null> {
  const partitions = new Map<string, string | null>();
  for (const folder of path.split("/").slice(0, -1)) {
    const at = folder.indexOf("=");
    if (at <= 0) continue;
    const name = decodePercent(folder.slice(0, at));
    const value = folder.slice(at + 1);
    if (partitions.has(name)) throw badFile(`Cannot load ${path}: its folders name the partition ${name} twice`);
    if (value === "") throw badFile(`Cannot load ${path}: its folder ${JSON.stringify(folder)} has no value`);
    partitions.set(name, value === HIVE_NULL ? null : decodePercent(value));
  }
  return partitions;
}

/** Decodes `%XX` escapes as UTF-8. As in Spark, invalid escapes stay unchanged. */
function decodePercent(text: string): string {
  return text.replace(/(?:%[\da-f]{2})+/gi, (escaped) => {
    try {
      return decodeURIComponent(escaped);
    } catch {
      return escaped;
    }
  });
}

/** Refuses files with different partitions. A file outside the partition folders is more often a mistake than a NULL. */
export function expectSamePartitions(files: readonly PartitionedFile[]): void {
  const [first, ...others] = files;
  const names = [...first!.partitions.keys()].sort();
  const joined = names.join("/");
  const other = others.find(({ partitions }) => [...partitions.keys()].sort().join("/") !== joined);
  if (other === undefined) return;
  const listed = ({ partitions }: PartitionedFile) => [...partitions.keys()].join(", ") || "none";
  const found = `${listed(first!)}; ${listed(other)}`;
  throw badData(
    `the folders of ${first!.path} and ${other.path} do not agree in their partitions (${found}); ` +
      `load them one by one, or use ${optionText({ partitions: false })}`,
  );
}

/** A file of a dataset with its partitions as columns. */
export class WithPartitions implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names: readonly string[] | undefined;
  readonly sampled: boolean;
  readonly refuse: Incoming["refuse"];
  readonly guess: Incoming["guess"];
  readonly #file: Incoming;
  /** The partitions that are not columns of the file itself. */
  readonly partitions: ReadonlyMap<string, string | null>;

  constructor(file: Incoming, path: string, partitions: ReadonlyMap<string, string | null>) {
    this.name = path;
    this.size = file.size;
    this.sampled = file.sampled;
    this.refuse = file.refuse;
    this.guess = file.guess;
    this.names = file.names;
    this.#file = file;
    const shared = new Set(file.names).intersection(new Set(partitions.keys()));
    this.partitions = new Map([...partitions].filter(([name]) => !shared.has(name)));
    // Polars also writes the partitions into Arrow and Parquet files, whose reader compares them with the folders.
    if (!file.sampled || shared.size === 0) return;
    const [name] = shared;
    const value = JSON.stringify(partitions.get(name!));
    throw badData(
      `${path} has the column ${JSON.stringify(name)}, and its folder says ${value} for it; ` +
        `use ${optionText({ partitions: false })} to take the value of the file`,
    );
  }

  newColumns(): ReturnType<Incoming["newColumns"]> {
    return this.#file.newColumns();
  }

  types(): Map<string, FileType> {
    return inFileSync(this.name, () => this.#file.types());
  }

  copy(table: LoadTable): IncomingCopy | undefined {
    return inFileSync(this.name, () => {
      const names = [...this.partitions.keys()];
      const columns = matchColumns(table, names, this.#folders());
      const rest = { ...table, columns: table.columns.filter((column) => !columns.includes(column)) };
      const copy = this.#file.copy(names.length === 0 ? table : rest);
      if (copy === undefined) return undefined;
      return { ...copy, columns: [...columns, ...copy.columns], bytes: (follows) => this.#bytes(copy, follows) };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }

  #folders(): NameSource {
    return {
      origin: () => `the folder of ${this.name}`,
      refuse: (state) => badData(`${state}; if the folders are not columns, use ${optionText({ partitions: false })}`),
    };
  }

  async *#bytes(copy: IncomingCopy, follows: boolean): AsyncGenerator<Uint8Array, void, void> {
    const { dialect = COPY_TEXT, columns } = copy;
    const values = [...this.partitions.values()];
    // If all columns come from the path, nothing follows the last delimiter.
    const text = prefixText(values, dialect).slice(0, columns.length === 0 ? -dialect.delimiter.length : undefined);
    try {
      const bytes = copy.bytes(follows);
      yield* values.length === 0 ? bytes : prefixed(bytes, new TextEncoder().encode(text), dialect);
    } catch (error) {
      throw withPath(error, this.name);
    }
  }
}

/** Does some work on a file. An error that does not name the file gets its path. */
export async function inFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw withPath(error, path);
  }
}

function inFileSync<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withPath(error, path);
  }
}

/** Adds the file's path to an error that does not name it, such as one about an option that the file does not fit. */
function withPath(error: unknown, path: string): unknown {
  if (!(error instanceof LakebaseError) || error.message.includes(path)) return error;
  const { code, message, cause, sqlstate } = error;
  return new LakebaseError(code, `${message} (in ${path})`, { cause, sqlstate });
}

const LINE_FEED = 10;
const RETURN = 13;
const BACKSLASH = 0x5c;

/** COPY's text format with its default options. */
const COPY_TEXT: Dialect = usualDialect(false);

/**
 * The text of the values before a record, with the delimiter after each value.
 *
 * @param values The values; `null` for NULL.
 */
function prefixText(values: readonly (string | null)[], dialect: Dialect): string {
  const { quotes, delimiter, nullText } = dialect;
  const text = (value: string) => quotes ? csvValue(value, dialect) : escaped(value, delimiter);
  return values.map((value) => (value === null ? nullText : text(value)) + delimiter).join("");
}

function csvValue(value: string, { quote, escape }: Dialect): string {
  const special = [...value].map((char) => char === quote || char === escape ? escape + char : char);
  return quote + special.join("") + quote;
}

function escaped(value: string, delimiter: string): string {
  const letters: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return value.replace(/[\\\n\r\t]/g, (special) => letters[special] ?? "\\\\").replaceAll(
    delimiter,
    (character) => `\\${character}`,
  );
}

/** Puts the same bytes before each record. A line end within a value does not begin a record. */
async function* prefixed(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  prefix: Uint8Array,
  dialect: Dialect,
): AsyncGenerator<Uint8Array, void, void> {
  const starts = new RecordStarts(dialect);
  for await (const chunk of chunks) yield withPrefixes(chunk, starts.find(chunk), prefix);
}

function withPrefixes(chunk: Uint8Array, starts: readonly number[], prefix: Uint8Array): Uint8Array {
  const out = new Uint8Array(chunk.length + starts.length * prefix.length);
  let from = 0;
  let at = 0;
  for (const start of starts) {
    out.set(chunk.subarray(from, start), at);
    at += start - from;
    out.set(prefix, at);
    at += prefix.length;
    from = start;
  }
  out.set(chunk.subarray(from), at);
  return out;
}

/** Finds where records begin in chunks of bytes of any size. */
class RecordStarts {
  readonly #quotes: boolean;
  readonly #quote: number;
  readonly #escape: number;
  #quoted = false;
  #escaped = false;
  /** What the next byte may begin. After a carriage return, a line feed still belongs to the line end. */
  #next: "record" | "record or line feed" | "value" = "record";

  constructor({ quotes, quote, escape }: Dialect) {
    this.#quotes = quotes;
    this.#quote = quote.charCodeAt(0);
    this.#escape = quotes ? escape.charCodeAt(0) : BACKSLASH;
  }

  find(chunk: Uint8Array): number[] {
    const starts: number[] = [];
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#next === "record or line feed" && byte === LINE_FEED) {
        this.#next = "record";
        continue;
      }
      if (this.#next !== "value") {
        starts.push(at);
        this.#next = "value";
      }
      if (this.#escaped) this.#escaped = false;
      else if (this.#quotes && byte === this.#quote) this.#quoted = !this.#quoted;
      else if (byte === this.#escape && (this.#quoted || !this.#quotes)) this.#escaped = true;
      else if (byte === LINE_FEED && !this.#quoted) this.#next = "record";
      else if (byte === RETURN && !this.#quoted) this.#next = "record or line feed";
    }
    return starts;
  }
}
