/** Runs PGlite in a worker, so that a query blocks only this thread and never the notebook or script that started it. */
import { parentPort, receiveMessageOnPort } from "node:worker_threads";
// 0.5.8 is the newest PGlite with a published initial database, from which it starts in 1.0 s of processor time. 0.5.17
// creates its database in 4.7 s. It would start from that of 0.5.8 in 1.0 s, but the package of that database requires
// PGlite 0.5.8, so Deno would print a warning of seven lines at each start. 0.5.17 allows no deeper recursion.
import { MemoryFS, PGlite } from "npm:@electric-sql/pglite@0.5.8";
import { dataDir as initialDatabase } from "npm:@electric-sql/pglite-prepopulatedfs@0.5.8";
import { messageSize, type Outcome, ResponseScanner } from "./messages.ts";
import {
  type ErrorHandling,
  OUTSTANDING,
  SENT,
  type Signalled,
  Signals,
  StackGuard,
  wrapImports,
} from "./wasm_imports.ts";

/**
 * A message from the host to the worker. Bytes are sent as an `ArrayBuffer` and not as a view: Deno searches each message
 * for message ports, and would visit each byte of a view.
 */
export type ToWorker =
  | { kind: "start"; data: string | DataFiles | undefined; shared: SharedArrayBuffer; inbox: MessagePort }
  | { kind: "run"; input: ArrayBuffer; prefix: string; channels: Set<string>; settingsMayChange: boolean }
  | { kind: "copy" | "stop" };

/** A message from the worker to the host. `want` requests input through the inbox, for which the worker blocks. */
export type FromWorker =
  | { kind: "started" | "want" | "stopped" }
  | { kind: "output"; bytes: ArrayBuffer }
  | { kind: "done"; outcome: Outcome }
  | { kind: "copied"; files: DataFiles }
  | { kind: "crashed"; message: string };

/** A copy of a database's data files. */
export interface DataFiles {
  /** The sizes by path below the data folder; `undefined` for a folder. A folder comes before its files. */
  sizes: Map<string, number | undefined>;
  /** The bytes of all files, one after another. */
  bytes: ArrayBuffer;
}

/** Bytes of output that the host has not processed, above which the query waits. */
const MAX_OUTSTANDING = 4 << 20;
const CHUNK = 64 << 10;
const COPY_DATA = "d".charCodeAt(0);

/**
 * The limit of Postgres's stack in memory, in kB. Most recursion reaches this limit before the end of JavaScript's
 * stack, which {@linkcode StackGuard} watches. With 300 kB, a PL/pgSQL function can call itself 206 times; JavaScript's
 * usual stack would allow 270 calls. Deno 2.9 can enlarge JavaScript's stack only for a whole process, with
 * `--v8-flags=--stack-size=2000`; `stackSizeMb` in a worker's `resourceLimits` does not change V8's own limit.
 */
function maxStackDepth(): number {
  return Math.min(Math.max(300, Math.floor(0.3 * jsStackSize())), 700);
}

/**
 * The approximate kB that JavaScript's stack has left, usually 980. It is measured with calls that have many arguments,
 * because their size is known and a few of them fill the stack.
 */
function jsStackSize(): number {
  const args = new Array<number>(256).fill(0);
  const callDeeper = (...values: number[]): number => {
    try {
      return 1 + callDeeper(...values);
    } catch {
      return 0;
    }
  };
  return callDeeper(...args) * 2.06;
}

// PGlite's own parameters without `search_path=public`, and with the time zone of a service.
const START_PARAMETERS = [
  ...PGlite.defaultStartParams.filter((parameter, i, all) => ![parameter, all[i + 1]].includes("search_path=public")),
  "-c",
  "timezone=Etc/UTC",
  "-c",
  `max_stack_depth=${maxStackDepth()}kB`,
];

/** The parts of PGlite's WebAssembly module that exchange messages with a client. */
interface PGliteModule extends Signalled, Omit<ErrorHandling, "addFunction"> {
  addFunction(callback: (address: number, length: number) => number | void, signature: string): number;
  _pgl_set_rw_cbs(read: number, write: number): void;
  _pgl_setPGliteExitStatus(status: number): number;
  _pgl_pq_flush(): void;
  _pq_buffer_remaining_data(): number;
  _PostgresMainLoopOnce(): void;
  _PostgresMainLongJmp(): void;
  _PostgresSendReadyForQueryIfNecessary(): void;
}

/** The exit status with which PGlite throws an SQL error to the main loop. */
const SQL_ERROR = 100;

/** Runs Postgres in this thread, and exchanges its messages with the host. */
class BackendThread {
  readonly #module: PGliteModule;
  readonly #shared: Int32Array;
  readonly #inbox: MessagePort;
  readonly #signals: Signals;
  readonly #stack: StackGuard;
  #input: Uint8Array = new Uint8Array();
  /** Number of bytes of the input that Postgres has read. */
  #read = 0;
  /** Where the message that Postgres reads ends in the input. */
  #end = 0;
  /** Number of inputs that have come through the inbox. */
  #received = 0;
  readonly #output: Uint8Array<ArrayBuffer> = new Uint8Array(CHUNK);
  /** Number of bytes in the output buffer. */
  #written = 0;
  #scanner = new ResponseScanner();

  constructor(module: PGliteModule, signals: Signals, stack: StackGuard, shared: Int32Array, inbox: MessagePort) {
    this.#module = module;
    this.#signals = signals;
    this.#stack = stack;
    this.#shared = shared;
    this.#inbox = inbox;
    signals.attach(module);
    stack.attach(module);
    const read = module.addFunction((address, length) => this.#readInput(address, length), "iii");
    const write = module.addFunction((address, length) => this.#writeOutput(address, length), "iii");
    module._pgl_set_rw_cbs(read, write);
  }

  /** Runs a batch of messages to its end. */
  run(input: Uint8Array, scanner: ResponseScanner): void {
    this.#input = input;
    this.#read = this.#end = 0;
    this.#scanner = scanner;
    const module = this.#module;
    const { top } = this.#stack;
    while (this.#read < this.#input.length || module._pq_buffer_remaining_data() > 0) {
      try {
        this.#stack.run(() => module._PostgresMainLoopOnce());
      } catch (error) {
        if (module._pgl_setPGliteExitStatus(-2) !== SQL_ERROR) throw error;
        this.#stack.top = top;
        module._PostgresMainLongJmp();
      }
    }
    module._PostgresSendReadyForQueryIfNecessary();
    module._pgl_pq_flush();
    this.#flush();
    this.#signals.clear();
  }

  /** Passes input to Postgres, one message at a time. A COPY waits here for more input. */
  #readInput(address: number, length: number): number {
    if (this.#read >= this.#end) this.#nextMessage();
    const part = this.#input.subarray(this.#read, Math.min(this.#read + length, this.#end));
    this.#module.HEAPU8.set(part, address);
    this.#read += part.length;
    return part.length;
  }

  /** Moves to the next message, or to the next run of CopyData messages. */
  #nextMessage(): void {
    if (this.#read >= this.#input.length) this.#input = this.#awaitInput();
    this.#scanner.request(this.#input[this.#read] as number);
    do {
      this.#end += messageSize(this.#input, this.#end) ?? 0;
    } while (this.#input[this.#read] === COPY_DATA && this.#input[this.#end] === COPY_DATA);
  }

  #awaitInput(): Uint8Array {
    this.#flush();
    post({ kind: "want" });
    Atomics.wait(this.#shared, SENT, this.#received);
    this.#signals.deliver();
    this.#received++;
    this.#read = this.#end = 0;
    return receiveMessageOnPort(this.#inbox as never)?.message as Uint8Array;
  }

  /** Receives Postgres's output. */
  #writeOutput(address: number, length: number): number {
    this.#signals.deliver();
    for (const part of this.#scanner.scan(this.#module.HEAPU8.subarray(address, address + length))) {
      if (this.#written + part.length > this.#output.length) this.#flush();
      if (part.length > this.#output.length) this.#send(new Uint8Array(part));
      else this.#buffer(part);
    }
    return length;
  }

  #buffer(part: Uint8Array): void {
    this.#output.set(part, this.#written);
    this.#written += part.length;
  }

  #flush(): void {
    if (this.#written) this.#send(this.#output.slice(0, this.#written));
    this.#written = 0;
  }

  #send(bytes: Uint8Array<ArrayBuffer>): void {
    const before = Atomics.add(this.#shared, OUTSTANDING, bytes.length);
    post({ kind: "output", bytes: bytes.buffer }, [bytes.buffer]);
    for (let size = before + bytes.length; size > MAX_OUTSTANDING; size = Atomics.load(this.#shared, OUTSTANDING)) {
      Atomics.wait(this.#shared, OUTSTANDING, size);
      this.#signals.deliver();
    }
  }
}

let database: PGlite | undefined;
let thread: BackendThread | undefined;

parentPort!.on("message", async (message: ToWorker) => {
  try {
    await handle(message);
  } catch (error) {
    post({ kind: "crashed", message: error instanceof Error ? error.message : String(error) });
  }
});

async function handle(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "start":
      await start(message);
      return post({ kind: "started" });
    case "run": {
      const scanner = new ResponseScanner(message.prefix, message.channels, message.settingsMayChange);
      thread?.run(new Uint8Array(message.input), scanner);
      return post({ kind: "done", outcome: scanner.outcome });
    }
    case "copy": {
      const files = copyFiles();
      return post({ kind: "copied", files }, [files.bytes]);
    }
    case "stop":
      await database?.close();
      return post({ kind: "stopped" });
  }
}

async function start({ data, shared, inbox }: Extract<ToWorker, { kind: "start" }>): Promise<void> {
  const memory = new Int32Array(shared);
  const signals = new Signals(memory);
  const stack = new StackGuard();
  wrapImports([signals, stack]);
  database = await open(data);
  thread = new BackendThread(database.Module as unknown as PGliteModule, signals, stack, memory, inbox);
}

async function open(data: string | DataFiles | undefined): Promise<PGlite> {
  const isCopy = typeof data === "object";
  const initialized = isCopy || (data !== undefined && await exists(`${data}/PG_VERSION`));
  const pglite = await PGlite.create({
    ...(isCopy ? { fs: new CopiedFiles(data) } : data === undefined ? {} : { dataDir: data }),
    ...(initialized ? { database: "databricks_postgres" } : { loadDataDir: await initialDatabase() }),
    startParams: START_PARAMETERS,
  });
  // ALTER DATABASE refuses to rename the current database.
  if (!initialized) {
    await pglite.exec(
      "UPDATE pg_catalog.pg_database SET datname = 'databricks_postgres' WHERE datname OPERATOR(pg_catalog.=) 'postgres'",
    );
  }
  return pglite;
}

/** The part of Emscripten's file system that copying a data folder needs. */
interface FileSystem {
  readdir(path: string): string[];
  stat(path: string): { mode: number; size: number };
  isDir(mode: number): boolean;
  mkdirTree(path: string): void;
  open(path: string, flags: "r"): object;
  read(stream: object, buffer: Uint8Array, offset: number, length: number): number;
  close(stream: object): void;
  writeFile(path: string, bytes: Uint8Array, options: { canOwn: boolean }): void;
}

const { PGDATA } = PGlite.paths;

/** Copies all data files, in the state that a crash of the server would leave. Postgres recovers them when it starts. */
function copyFiles(): DataFiles {
  const fs = database!.Module.FS as unknown as FileSystem;
  const sizes = new Map<string, number | undefined>();
  const visit = (folder: string): void => {
    for (const name of fs.readdir(`${PGDATA}${folder}`)) {
      if (name === "." || name === ".." || name === "postmaster.pid") continue;
      const path = `${folder}/${name}`;
      const { mode, size } = fs.stat(`${PGDATA}${path}`);
      sizes.set(path, fs.isDir(mode) ? undefined : size);
      if (fs.isDir(mode)) visit(path);
    }
  };
  visit("");
  const bytes = new Uint8Array([...sizes.values()].reduce<number>((sum, size = 0) => sum + size, 0));
  let at = 0;
  for (const [path, size] of sizes) {
    if (size === undefined) continue; // a folder
    readInto(fs, path, bytes, at, at += size);
  }
  return { sizes, bytes: bytes.buffer };
}

/** Reads a file into a part of a buffer. A view of the part would not do, because a file system may ignore its offset. */
function readInto(fs: FileSystem, path: string, bytes: Uint8Array, from: number, to: number): void {
  const stream = fs.open(`${PGDATA}${path}`, "r");
  for (let at = from; at < to;) {
    const read = fs.read(stream, bytes, at, to - at);
    if (read === 0) throw new Error(`Cannot copy ${path}: it is shorter than its size says`);
    at += read;
  }
  fs.close(stream);
}

/** A file system in memory that begins with a copy of data files. */
class CopiedFiles extends MemoryFS {
  #files: DataFiles | undefined;

  constructor(files: DataFiles) {
    super();
    this.#files = files;
  }

  /** PGlite calls this before it looks for a database. */
  override initialSyncFs(): Promise<void> {
    const fs = this.pg!.Module.FS as unknown as FileSystem;
    const { sizes, bytes } = this.#files!;
    this.#files = undefined;
    fs.mkdirTree(PGDATA);
    let at = 0;
    for (const [path, size] of sizes) {
      if (size === undefined) fs.mkdirTree(`${PGDATA}${path}`);
      else fs.writeFile(`${PGDATA}${path}`, new Uint8Array(bytes, at, size), { canOwn: true });
      at += size ?? 0;
    }
    return Promise.resolve();
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

function post(message: FromWorker, transfer: Transferable[] = []): void {
  parentPort!.postMessage(message, transfer as never[]);
}
