import { LakebaseError, optionText } from "../../core/errors.ts";
import { countText } from "../../core/text.ts";
import type { ReaderPool } from "../formats/columnar_reader.ts";
import type { LoadFormat } from "../formats/file_format.ts";
import { badFile, type Readable } from "./bytes.ts";
import { type Contradiction, DatasetColumns, type FileType } from "./infer.ts";
import { type DataFile, findFiles, partitionsOf } from "./dataset_files.ts";
import { COPY_TEXT, prefixed, prefixText } from "./dialect.ts";
import { copyOf, type CopyPart, type Incoming, type IncomingCopy } from "./incoming.ts";
import {
  badData,
  badLoadOption,
  listedColumns,
  type LoadOptions,
  newNames,
  nothingToRename,
  type SourceOptions,
} from "./options.ts";
import { type LoadTable, matchColumns, type Namer } from "./table.ts";

/** The functions that open a dataset's files. */
export interface OpenFiles {
  /** The store in which the files of a path are. */
  filesOf(path: string): Promise<Readable>;
  /** The format of a file, by its extension or else by its first bytes. */
  formatOf(path: string): Promise<LoadFormat>;
  /** Opens a file; `undefined` for an empty text file, which has no rows. */
  open(path: string, format: LoadFormat, options: SourceOptions): Promise<Incoming | undefined>;
}

/** The number of rows sampled for types: in all files together, and at least in each file. */
const SAMPLE_ROWS = 10_000;
const FEWEST_SAMPLED = 100;

/** A file and the partitions that its folders name. */
interface Part extends DataFile {
  partitions: ReadonlyMap<string, string | null>;
}

/**
 * Opens the files of folders, globs and lists as one source. They are loaded one after another: the files of a folder or a
 * glob in the order of their paths, the files of a list in its order.
 *
 * @param places The folders, globs and files.
 * @param name The dataset's name in errors.
 * @throws {LakebaseError} `BAD_FILE` for a missing file, for files of different formats, and for files whose hive partitions
 * differ; `BAD_PARAMETER` for a file that is listed twice.
 */
export async function openDataset(
  places: readonly string[],
  name: string,
  options: LoadOptions,
  opening: OpenFiles,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  const files = await filesOf(places, opening, signal);
  const { partitions = true } = options;
  const { ReaderPool } = await import("../formats/columnar_reader.ts");
  const parts = files.map((file) => ({ ...file, partitions: partitions ? partitionsOf(file.path) : new Map() }));
  expectSamePartitions(parts);
  const format = await formatOfAll(files, options, opening);
  return new Dataset(places, parts, name, format, options, opening, signal, new ReaderPool());
}

async function filesOf(
  places: readonly string[],
  opening: OpenFiles,
  signal: AbortSignal | undefined,
): Promise<DataFile[]> {
  const seen = new Set<string>();
  const files: DataFile[] = [];
  for (const place of places) {
    for (const file of await findFiles(place, await opening.filesOf(place), signal)) {
      if (seen.has(file.path)) throw badLoadOption(`the list of files has ${file.path} twice`);
      seen.add(file.path);
      files.push(file);
    }
  }
  return files;
}

async function formatOfAll(
  files: readonly DataFile[],
  { format }: LoadOptions,
  { formatOf }: OpenFiles,
): Promise<LoadFormat> {
  if (format !== undefined) return format;
  const formats: LoadFormat[] = [];
  for (const { path } of files) formats.push(await formatOf(path));
  const other = formats.findIndex((found) => found !== formats[0]);
  if (other === -1) return formats[0]!;
  throw badData(
    `${files[0]!.path} is ${formats[0]}, and ${files[other]!.path} is ${
      formats[other]
    }; the files of one load are of one ` +
      `format: name the files to load, such as "*.${formats[0]}"`,
  );
}

/** Refuses files with different partitions: a file outside the partition folders is more often a mistake than a NULL. */
function expectSamePartitions(parts: readonly Part[]): void {
  const [first, ...others] = parts;
  const names = [...first!.partitions.keys()].sort();
  const wanted = names.join("/");
  const other = others.find(({ partitions }) => [...partitions.keys()].sort().join("/") !== wanted);
  if (other === undefined) return;
  const said = (part: Part) => [...part.partitions.keys()].join(", ") || "none";
  throw badData(
    `the folders of ${first!.path} and ${other.path} do not agree in their partitions (${said(first!)}; ${
      said(other)
    }); ` +
      `load them one by one, or use ${optionText({ partitions: false })}`,
  );
}

class Dataset implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names = undefined;
  readonly refuse = badData;
  readonly sampled: boolean;
  readonly paths: readonly string[];
  /** The detected dialect of the first file that has one. */
  guess: Incoming["guess"];
  readonly #places: readonly string[];
  readonly #parts: readonly Part[];
  readonly #format: LoadFormat;
  readonly #options: LoadOptions;
  readonly #opening: OpenFiles;
  readonly #signal: AbortSignal | undefined;
  readonly #readers: ReaderPool;
  /** The columns to rename that no file has had yet; see {@linkcode SourceOptions.absent}. */
  readonly #absent: Set<string>;
  readonly #seen = new Set<string>();

  constructor(
    places: readonly string[],
    parts: readonly Part[],
    name: string,
    format: LoadFormat,
    options: LoadOptions,
    opening: OpenFiles,
    signal: AbortSignal | undefined,
    readers: ReaderPool,
  ) {
    this.#readers = readers;
    this.#places = places;
    this.#parts = parts;
    this.name = name;
    this.#format = format;
    this.#options = options;
    this.#opening = opening;
    this.#signal = signal;
    this.paths = parts.map(({ path }) => path);
    this.sampled = format !== "parquet" && format !== "arrow";
    const folders = new Set(parts.flatMap(({ partitions }) => [...partitions.keys()]));
    const renames = newNames(options) ?? {};
    expectNoClash(renames, folders);
    this.#absent = new Set(Object.keys(renames)).difference(folders);
    const packed = this.sampled && this.paths.some((path) => /\.(gz|zst|gzip)$/i.test(path));
    this.size = packed ? undefined : parts.reduce((sum, { size }) => sum + size, 0);
  }

  /** Reads the beginning of every file, because a later file may have wider values or more columns. */
  async newColumns(): Promise<Map<string, string>> {
    const columns = new DatasetColumns(Object.keys(this.#options.types ?? {}));
    const sampleRows = Math.max(FEWEST_SAMPLED, Math.ceil(SAMPLE_ROWS / this.#parts.length));
    for (const part of this.#parts) {
      await using file = await this.#open(part, { ...this.#fileOptions(part), create: true, sampleRows });
      const contradiction = file === undefined ? undefined : columns.add(part.path, file.types());
      if (contradiction !== undefined) throw contradicts(contradiction);
      columns.addPartitions(file?.partitions ?? this.#chosenPartitions(part));
    }
    this.#expectRenamed();
    const types = columns.types();
    if (types.size > 0) return types;
    throw badData(`no file of ${this.name} has a column, so there is nothing to make a table of`);
  }

  types(): Map<string, FileType> {
    throw new TypeError("a dataset has the types of its files");
  }

  copy(): IncomingCopy | undefined {
    throw new TypeError("a dataset is copied by its parts");
  }

  /** The files in order. While one is read, the next is opened, and a worker reads its first rows. */
  async *parts(table: LoadTable): AsyncGenerator<CopyPart, void, void> {
    const open = (index: number) => {
      const part = this.#parts[index];
      const opened = part && this.#openCopy(part, table);
      opened?.catch(() => {}); // awaited later, if at all
      return opened;
    };
    let next = open(0);
    try {
      for (let index = 0; index < this.#parts.length; index++) {
        const opened = await next;
        await using file = opened?.file;
        next = open(index + 1);
        this.guess ??= file?.guess;
        if (file !== undefined && opened?.copy !== undefined) yield { name: file.name, copy: opened.copy };
        await this.#expectUnchanged(this.#parts[index]!);
      }
      this.#expectRenamed();
      await this.#expectSameFiles();
    } finally {
      await next?.then((opened) => opened?.file[Symbol.asyncDispose](), () => {}); // the next file was not opened
    }
  }

  async #openCopy(
    part: Part,
    table: LoadTable,
  ): Promise<{ file: DatasetFile; copy: IncomingCopy | undefined } | undefined> {
    const file = await this.#open(part, { ...this.#fileOptions(part), create: false });
    if (file === undefined) return undefined;
    try {
      return { file, copy: copyOf(file, table) };
    } catch (error) {
      await file[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#readers[Symbol.asyncDispose]();
  }

  async #open(part: Part, options: SourceOptions): Promise<DatasetFile | undefined> {
    this.#signal?.throwIfAborted();
    return await inFile(part.path, async () => {
      const file = await this.#opening.open(part.path, this.#format, options);
      for (const name of file?.names ?? []) this.#seen.add(name);
      return file && new DatasetFile(file, part.path, this.#chosenPartitions(part));
    });
  }

  /** The options for one file. Its `columns` omit the partitions, which the file itself does not have. */
  #fileOptions({ partitions }: Part): SourceOptions {
    const { types: _types, columns, ...rest } = this.#options;
    const options = { ...rest, readers: this.#readers, expected: partitions };
    if (columns === undefined) return options;
    const listed = listedColumns(this.#options);
    if (listed === undefined) return { ...options, columns, absent: this.#absent };
    return { ...options, columns: listed.filter((name) => !partitions.has(name)) };
  }

  /** The partitions to load. A list of `columns` selects them, but in CSV and TSV it names only the file's own columns. */
  #chosenPartitions({ partitions }: Part): ReadonlyMap<string, string | null> {
    const renames = newNames(this.#options);
    if (renames !== undefined) {
      return new Map(Array.from(partitions, ([name, value]) => [nameIn(renames, name), value]));
    }
    const columns = listedColumns(this.#options);
    if (columns === undefined || this.#format === "csv" || this.#format === "tsv") return partitions;
    return new Map([...partitions].filter(([name]) => columns.includes(name)));
  }

  /** Refuses a new name for a column that neither a file nor a folder has: a file may lack a column, but not every file. */
  #expectRenamed(): void {
    const [name] = this.#absent;
    if (name === undefined) return;
    const names = [...this.#seen, ...this.#parts[0]!.partitions.keys()];
    throw nothingToRename(name, newNames(this.#options)!, `no file of ${this.name} has`, names);
  }

  async #expectUnchanged({ path, size, written }: Part): Promise<void> {
    const now = await inFile(path, async () => await (await this.#opening.filesOf(path)).stat(path));
    if (now?.size === size && (written === 0 || now.written === written)) return;
    throw badFile(`Cannot load ${path}: it changed while it was read; load it when nothing writes to it`);
  }

  async #expectSameFiles(): Promise<void> {
    const now = new Set((await filesOf(this.#places, this.#opening, this.#signal)).map(({ path }) => path));
    const came = now.difference(new Set(this.paths)).values().next().value;
    const gone = new Set(this.paths).difference(now).values().next().value;
    if (came === undefined && gone === undefined) return;
    throw badFile(
      `Cannot load ${this.name}: it changed while it was read: ${came ?? gone} ${
        came === undefined ? "is gone" : "was added"
      }; load it when nothing writes to it`,
    );
  }
}

function nameIn(renames: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(renames, name) ? renames[name]! : name;
}

/** Refuses to give a column the name that a folder gives another one: one of the two would be lost. */
function expectNoClash(renames: Readonly<Record<string, string>>, folders: ReadonlySet<string>): void {
  for (const [name, renamed] of Object.entries(renames)) {
    const folder = [...folders].find((folder) => folder !== name && nameIn(renames, folder) === renamed);
    if (folder === undefined) continue;
    throw badLoadOption(
      `${
        optionText({ columns: { [name]: renamed } })
      } gives a column the name that the folders called ${folder}=... have; ` +
        `rename that too, or use ${optionText({ partitions: false })}`,
    );
  }
}

function contradicts({ column, files, types }: Contradiction): LakebaseError {
  const name = JSON.stringify(column);
  return badData(
    `the column ${name} is ${types[0]} in ${files[0]} and ${types[1]} in ${files[1]}, and no type takes both; say ` +
      `${optionText({ types: { [column]: "text" } })}, or make the table by hand`,
  );
}

/** A file of a dataset, with its partitions as columns. */
class DatasetFile implements Incoming {
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
    const twice = new Set(file.names).intersection(new Set(partitions.keys()));
    this.partitions = new Map([...partitions].filter(([name]) => !twice.has(name)));
    // Polars also writes the partitions into Arrow and Parquet files, whose reader compares them with the folders.
    if (!file.sampled || twice.size === 0) return;
    const [name] = twice;
    throw badData(
      `${path} has the column ${JSON.stringify(name)}, and its folder says ${
        JSON.stringify(partitions.get(name!))
      } for it; ` +
        `use ${optionText({ partitions: false })} to take the file's own`,
    );
  }

  newColumns(): ReturnType<Incoming["newColumns"]> {
    return this.#file.newColumns();
  }

  types(): Map<string, FileType> {
    return inFileNow(this.name, () => this.#file.types());
  }

  copy(table: LoadTable): IncomingCopy | undefined {
    return inFileNow(this.name, () => {
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

  #folders(): Namer {
    return {
      where: () => `the folder of ${this.name}`,
      refuse: (state) => badData(`${state}; if the folders are not columns, use ${optionText({ partitions: false })}`),
    };
  }

  async *#bytes(copy: IncomingCopy, follows: boolean): AsyncGenerator<Uint8Array, void, void> {
    const { layout = COPY_TEXT, columns } = copy;
    const values = [...this.partitions.values()];
    // If all columns come from the path, nothing follows the last delimiter.
    const text = prefixText(values, layout).slice(0, columns.length === 0 ? -layout.delimiter.length : undefined);
    try {
      const bytes = copy.bytes(follows);
      yield* values.length === 0 ? bytes : prefixed(bytes, new TextEncoder().encode(text), layout);
    } catch (error) {
      throw named(error, this.name);
    }
  }
}

async function inFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw named(error, path);
  }
}

function inFileNow<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw named(error, path);
  }
}

/** Puts the file's whole path into an error, because many files in hive folders have the same name. */
function named(error: unknown, path: string): unknown {
  if (!(error instanceof LakebaseError) || error.message.includes(path)) return error;
  const { code, message, cause, sqlstate } = error;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const at = message.indexOf(name);
  const text = at === -1 ? `${message} (in ${path})` : message.slice(0, at) + path + message.slice(at + name.length);
  return new LakebaseError(code, text, { cause, sqlstate });
}

/** The name of a list of files in errors. */
export function listName(places: readonly string[]): string {
  return places.length === 1 ? places[0]! : `${countText(places.length, "file")} (${places[0]}, ...)`;
}
