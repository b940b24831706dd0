import { type LakebaseError, optionText } from "../../core/errors.ts";
import { countText } from "../../core/text.ts";
import type { ReaderPool } from "../formats/columnar_reader.ts";
import type { LoadFormat } from "../formats/file_format.ts";
import type { Readable } from "../stores.ts";
import { badFile } from "./bytes.ts";
import { type Contradiction, DatasetColumns, type FileType } from "./infer.ts";
import { type DataFile, findFiles } from "./dataset_files.ts";
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
import { DatasetFile, expectSamePartitions, inFile, type PartitionedFile, partitionsOf } from "./partitions.ts";
import type { LoadTable } from "./table.ts";

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
  readonly #parts: readonly PartitionedFile[];
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
    parts: readonly PartitionedFile[],
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
    part: PartitionedFile,
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

  async #open(part: PartitionedFile, options: SourceOptions): Promise<DatasetFile | undefined> {
    this.#signal?.throwIfAborted();
    return await inFile(part.path, async () => {
      const file = await this.#opening.open(part.path, this.#format, options);
      for (const name of file?.names ?? []) this.#seen.add(name);
      return file && new DatasetFile(file, part.path, this.#chosenPartitions(part));
    });
  }

  /** The options for one file. Its `columns` omit the partitions, which the file itself does not have. */
  #fileOptions({ partitions }: PartitionedFile): SourceOptions {
    const { types: _types, columns, ...rest } = this.#options;
    const options = { ...rest, readers: this.#readers, expected: partitions };
    if (columns === undefined) return options;
    const listed = listedColumns(this.#options);
    if (listed === undefined) return { ...options, columns, absent: this.#absent };
    return { ...options, columns: listed.filter((name) => !partitions.has(name)) };
  }

  /** The partitions to load. A list of `columns` selects them, but in CSV and TSV it names only the file's own columns. */
  #chosenPartitions({ partitions }: PartitionedFile): ReadonlyMap<string, string | null> {
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

  async #expectUnchanged({ path, size, written }: PartitionedFile): Promise<void> {
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

/** The name of a list of files in errors. */
export function listName(places: readonly string[]): string {
  return places.length === 1 ? places[0]! : `${countText(places.length, "file")} (${places[0]}, ...)`;
}
