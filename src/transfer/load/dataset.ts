import { loadModule } from "../../core/lazy_import.ts";
import { type LakebaseError, optionText } from "../../core/errors.ts";
import { countText } from "../../core/text.ts";
import type { ReaderPool } from "../formats/columnar_reader.ts";
import type { LoadFormat } from "../formats/file_format.ts";
import type { ReadableFiles } from "../stores.ts";
import { badFile } from "./bytes.ts";
import { type Contradiction, DatasetColumns, type FileType } from "./infer.ts";
import { type DataFile, findFiles } from "./dataset_files.ts";
import { copyInto, type FileCopy, type Incoming, type IncomingCopy } from "./incoming.ts";
import {
  badData,
  badLoadOption,
  listedColumns,
  type LoadOptions,
  newNames,
  nothingToRename,
  type SourceOptions,
} from "./options.ts";
import { expectSamePartitions, inFile, type PartitionedFile, partitionsOf, WithPartitions } from "./partitions.ts";
import type { LoadTable } from "./table.ts";

/** Opens the files of a dataset. */
export interface FileOpener {
  /** The files of this machine or of a store, whichever has the path. */
  filesOf(path: string): Promise<ReadableFiles>;
  /** The format of a file, by its extension or else by its first bytes. */
  formatOf(path: string): Promise<LoadFormat>;
  /** Opens a file; `undefined` for an empty text file, which has no rows. */
  open(path: string, format: LoadFormat, options: SourceOptions): Promise<Incoming | undefined>;
}

/** The number of rows that are sampled for types in all files together. */
const SAMPLE_ROWS = 10_000;
/** The lowest number of rows that are sampled in each file. */
const MIN_FILE_SAMPLE = 100;

/**
 * Opens the files of folders, globs and lists as one source. They are loaded one after another: the files of a folder or a
 * glob in the order of their paths, the files of a list in its order.
 *
 * @param paths The folders, globs and files.
 * @param name The dataset's name in errors.
 * @throws {LakebaseError} `BAD_FILE` for a missing file, for files of different formats, and for files whose hive partitions
 * differ; `BAD_PARAMETER` for a file that is listed twice.
 */
export async function openDataset(
  paths: readonly string[],
  name: string,
  options: LoadOptions,
  opener: FileOpener,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  const files = await filesOf(paths, opener, signal);
  const { partitions: hasPartitions = true } = options;
  const { ReaderPool } = await loadModule(() => import("../formats/columnar_reader.ts"));
  const partitioned = files.map((file) => ({
    ...file,
    partitions: hasPartitions ? partitionsOf(file.path) : new Map(),
  }));
  expectSamePartitions(partitioned);
  const format = await commonFormat(files, options, opener);
  return new Dataset({ paths, files: partitioned, name, format, options, opener, signal, readers: new ReaderPool() });
}

async function filesOf(
  paths: readonly string[],
  opener: FileOpener,
  signal: AbortSignal | undefined,
): Promise<DataFile[]> {
  const seen = new Set<string>();
  const files: DataFile[] = [];
  for (const path of paths) {
    for (const file of await findFiles(path, await opener.filesOf(path), signal)) {
      if (seen.has(file.path)) throw badLoadOption(`the list of files has ${file.path} twice`);
      seen.add(file.path);
      files.push(file);
    }
  }
  return files;
}

async function commonFormat(
  files: readonly DataFile[],
  { format }: LoadOptions,
  { formatOf }: FileOpener,
): Promise<LoadFormat> {
  if (format !== undefined) return format;
  const formats: LoadFormat[] = [];
  for (const { path } of files) formats.push(await formatOf(path));
  const other = formats.findIndex((format) => format !== formats[0]);
  if (other === -1) return formats[0]!;
  const found = [0, other].map((index) => `${files[index]!.path} is ${formats[index]}`).join(", and ");
  throw badData(
    `${found}; the files of one load must have one format: name the files to load, such as "*.${formats[0]}"`,
  );
}

/** The parts of a dataset. */
interface DatasetParts {
  /** The folders, globs and files, as the caller wrote them. */
  paths: readonly string[];
  files: readonly PartitionedFile[];
  name: string;
  format: LoadFormat;
  options: LoadOptions;
  opener: FileOpener;
  signal: AbortSignal | undefined;
  readers: ReaderPool;
}

class Dataset implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names = undefined;
  readonly refuse = badData;
  readonly sampled: boolean;
  readonly fileCount: number;
  /** The detected dialect of the first file that has one. */
  guess: Incoming["guess"];
  readonly #paths: readonly string[];
  readonly #files: readonly PartitionedFile[];
  readonly #format: LoadFormat;
  readonly #options: LoadOptions;
  readonly #opener: FileOpener;
  readonly #signal: AbortSignal | undefined;
  readonly #readers: ReaderPool;
  /** The columns to rename that no file has had so far; see {@linkcode SourceOptions.absent}. */
  readonly #absent: Set<string>;
  /** The names of the columns of the files so far. */
  readonly #columnNames = new Set<string>();

  constructor({ paths, files, name, format, options, opener, signal, readers }: DatasetParts) {
    this.#readers = readers;
    this.#paths = paths;
    this.#files = files;
    this.name = name;
    this.#format = format;
    this.#options = options;
    this.#opener = opener;
    this.#signal = signal;
    this.fileCount = files.length;
    this.sampled = format !== "parquet" && format !== "arrow";
    const partitions = new Set(files.flatMap((file) => [...file.partitions.keys()]));
    const renames = newNames(options) ?? {};
    expectNoClash(renames, partitions);
    this.#absent = new Set(Object.keys(renames)).difference(partitions);
    const packed = this.sampled && files.some(({ path }) => /\.(gz|zst|gzip)$/i.test(path));
    this.size = packed ? undefined : files.reduce((sum, { size }) => sum + size, 0);
  }

  /** Reads the beginning of every file, because a later file may have wider values or more columns. */
  async newColumns(): Promise<Map<string, string>> {
    const columns = new DatasetColumns(Object.keys(this.#options.types ?? {}));
    const sampleRows = Math.max(MIN_FILE_SAMPLE, Math.ceil(SAMPLE_ROWS / this.fileCount));
    for (const file of this.#files) {
      await using incoming = await this.#open(file, { ...this.#fileOptions(file), create: true, sampleRows });
      const contradiction = incoming === undefined ? undefined : columns.add(file.path, incoming.types());
      if (contradiction !== undefined) throw noCommonType(contradiction);
      columns.addPartitions(incoming?.partitions ?? this.#chosenPartitions(file));
    }
    this.#expectRenamed();
    const types = columns.types();
    if (types.size > 0) return types;
    throw badData(`no file of ${this.name} has a column, so there is nothing to make a table of`);
  }

  types(): Map<string, FileType> {
    throw new TypeError("each file of a dataset has its own types");
  }

  copy(): IncomingCopy | undefined {
    throw new TypeError("a dataset is copied file by file");
  }

  /** The data of the files, in order. While one file is read, the next is opened, and a worker reads its first rows. */
  async *fileCopies(table: LoadTable): AsyncGenerator<FileCopy, void, void> {
    const open = (index: number) => {
      const file = this.#files[index];
      const opened = file && this.#openCopy(file, table);
      opened?.catch(() => {}); // awaited later, if at all
      return opened;
    };
    let next = open(0);
    try {
      for (let index = 0; index < this.fileCount; index++) {
        const opened = await next;
        await using incoming = opened?.incoming;
        next = open(index + 1);
        this.guess ??= incoming?.guess;
        if (incoming !== undefined && opened?.copy !== undefined) yield { name: incoming.name, copy: opened.copy };
        await this.#expectUnchanged(this.#files[index]!);
      }
      this.#expectRenamed();
      await this.#expectSameFiles();
    } finally {
      await next?.then((opened) => opened?.incoming[Symbol.asyncDispose](), () => {}); // a file that failed to open needs no closing
    }
  }

  async #openCopy(
    file: PartitionedFile,
    table: LoadTable,
  ): Promise<{ incoming: WithPartitions; copy: IncomingCopy | undefined } | undefined> {
    const incoming = await this.#open(file, { ...this.#fileOptions(file), create: false });
    if (incoming === undefined) return undefined;
    try {
      return { incoming, copy: copyInto(incoming, table) };
    } catch (error) {
      await incoming[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#readers[Symbol.asyncDispose]();
  }

  async #open(file: PartitionedFile, options: SourceOptions): Promise<WithPartitions | undefined> {
    this.#signal?.throwIfAborted();
    return await inFile(file.path, async () => {
      const incoming = await this.#opener.open(file.path, this.#format, options);
      for (const name of incoming?.names ?? []) this.#columnNames.add(name);
      return incoming && new WithPartitions(incoming, file.path, this.#chosenPartitions(file));
    });
  }

  /** The options for one file. Its `columns` omit the partitions, which the file itself does not have. */
  #fileOptions({ path, partitions }: PartitionedFile): SourceOptions {
    const { types: _types, columns, ...rest } = this.#options;
    const options = { ...rest, name: path, readers: this.#readers, expected: partitions };
    if (columns === undefined) return options;
    const listed = listedColumns(this.#options);
    if (listed === undefined) return { ...options, columns, absent: this.#absent };
    return { ...options, columns: listed.filter((name) => !partitions.has(name)) };
  }

  /** The partitions to load. A list of `columns` selects them, but in CSV and TSV it names only the file's own columns. */
  #chosenPartitions({ partitions }: PartitionedFile): ReadonlyMap<string, string | null> {
    const renames = newNames(this.#options);
    if (renames !== undefined) {
      return new Map(Array.from(partitions, ([name, value]) => [newName(renames, name), value]));
    }
    const columns = listedColumns(this.#options);
    if (columns === undefined || this.#format === "csv" || this.#format === "tsv") return partitions;
    return new Map([...partitions].filter(([name]) => columns.includes(name)));
  }

  /** Refuses a new name for a column that neither a file nor a folder has. Some files may lack the column, but not all. */
  #expectRenamed(): void {
    const [name] = this.#absent;
    if (name === undefined) return;
    const names = [...this.#columnNames, ...this.#files[0]!.partitions.keys()];
    throw nothingToRename(name, newNames(this.#options)!, `no file of ${this.name} has`, names);
  }

  async #expectUnchanged({ path, size, written }: PartitionedFile): Promise<void> {
    const now = await inFile(path, async () => await (await this.#opener.filesOf(path)).stat(path));
    if (now?.size === size && (written === 0 || now.written === written)) return;
    throw badFile(`Cannot load ${path}: it changed while it was read; load it when nothing writes to it`);
  }

  async #expectSameFiles(): Promise<void> {
    const before = new Set(this.#files.map(({ path }) => path));
    const now = new Set((await filesOf(this.#paths, this.#opener, this.#signal)).map(({ path }) => path));
    const [added] = now.difference(before);
    const [removed] = before.difference(now);
    if (added === undefined && removed === undefined) return;
    throw badFile(
      `Cannot load ${this.name}: it changed while it was read: ${added ?? removed} ${
        added === undefined ? "was removed" : "was added"
      }; load it when nothing writes to it`,
    );
  }
}

function newName(renames: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(renames, name) ? renames[name]! : name;
}

/** Refuses to give a column the name that a folder gives to another column, because one of the two would be lost. */
function expectNoClash(renames: Readonly<Record<string, string>>, partitions: ReadonlySet<string>): void {
  for (const [name, renamed] of Object.entries(renames)) {
    const partition = [...partitions].find((other) => other !== name && newName(renames, other) === renamed);
    if (partition === undefined) continue;
    throw badLoadOption(
      `${
        optionText({ columns: { [name]: renamed } })
      } gives a column the name that the folders called ${partition}=... have; ` +
        `rename that too, or use ${optionText({ partitions: false })}`,
    );
  }
}

function noCommonType({ column, files, types }: Contradiction): LakebaseError {
  const name = JSON.stringify(column);
  return badData(
    `the column ${name} is ${types[0]} in ${files[0]} and ${types[1]} in ${files[1]}, and no type takes both; use ` +
      `${optionText({ types: { [column]: "text" } })}, or create the table yourself`,
  );
}

/** The name of a list of files in errors. */
export function listName(paths: readonly string[]): string {
  return paths.length === 1 ? paths[0]! : `${countText(paths.length, "file")} (${paths[0]}, ...)`;
}
