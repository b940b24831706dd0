/** Adds signals and a check of JavaScript's stack to PGlite: it replaces functions that PGlite's WebAssembly imports. */

/** Addresses of the flags that signals set in Postgres's memory. */
export interface Signalled {
  HEAPU8: Uint8Array;
  HEAP32: Int32Array;
  _InterruptPending: number;
  _QueryCancelPending: number;
}

// Indexes of the Int32 values that the host and the worker share. A blocked worker can receive nothing else.

/** Bytes of output that the host has not processed yet. */
export const OUTSTANDING = 0;
/** Number of inputs that the host has sent through the inbox. */
export const SENT = 1;
/** 1 if the running query must be canceled. */
export const CANCEL = 2;
/** 1 if the database must end, even during a query. */
export const STOP = 3;
/** Number of shared values. */
export const SLOTS = 4;

type Call = (...values: number[]) => number;
type RaiseAlarm = (timer: number, now: number) => void;

/** The system calls that most queries make often. A query that only computes in memory makes none. */
const WATCHED = ["fd_read", "fd_write", "fd_pread", "fd_pwrite", "clock_time_get", "emscripten_date_now"];

/** The number of consecutive reads of the clock that count as a sleep. In WebAssembly, sleeping is reading the clock. */
const BUSY_WAIT_READS = 1000;

/** Nanoseconds added to the clock to end a sleep. */
const FAR_AHEAD = 10n ** 15n;

/**
 * Signals for a Postgres that can't receive any, because nothing else runs in its thread during a query.
 *
 * A cancel request and `statement_timeout` are delivered at the query's next system call. A query that makes no system
 * call, because it only computes in memory, runs to its end.
 */
export class Signals {
  readonly #shared: Int32Array;
  #backend: Signalled | undefined;
  #raiseAlarm: RaiseAlarm | undefined;
  #alarm = Infinity;
  #clockReads = 0;
  /** Whether a signal was delivered, so that a sleep of Postgres must end. */
  #awake = false;

  constructor(shared: Int32Array) {
    this.#shared = shared;
  }

  /** Receives the main module's exports. */
  instantiated(exports: WebAssembly.Exports): void {
    this.#raiseAlarm = exports["_emscripten_timeout"] as RaiseAlarm;
  }

  attach(backend: Signalled): void {
    this.#backend = backend;
  }

  /** Discards a cancel request that arrived after its query had ended. */
  clear(): void {
    if (this.#backend) this.#backend.HEAP32[this.#backend._QueryCancelPending >> 2] = 0;
    this.#awake = false;
  }

  /**
   * Delivers pending signals.
   *
   * @throws {Error} If the database is being stopped: terminating the worker would not end a running query.
   */
  deliver(): void {
    if (Atomics.load(this.#shared, STOP) === 1) throw new Error("the database has been stopped");
    if (this.#backend && Atomics.exchange(this.#shared, CANCEL, 0)) {
      const { HEAP32, _InterruptPending, _QueryCancelPending } = this.#backend;
      HEAP32[_QueryCancelPending >> 2] = 1;
      HEAP32[_InterruptPending >> 2] = 1;
      this.#awake = true;
    }
    if (performance.now() < this.#alarm) return;
    this.#alarm = Infinity;
    this.#awake = true;
    this.#raiseAlarm?.(0, performance.now());
  }

  /** Returns the replacement of an import, or the import itself. */
  wrap(name: string, value: WebAssembly.ImportValue): WebAssembly.ImportValue {
    if (name === "_setitimer_js") return (_timer: number, milliseconds: number) => this.#setAlarm(milliseconds);
    if (!WATCHED.includes(name)) return value;
    const call = value as Call;
    if (name === "clock_time_get") return (...values: number[]) => this.#readClock(call, values);
    return (...values: number[]): number => {
      this.#clockReads = 0;
      this.deliver();
      return call(...values);
    };
  }

  #setAlarm(milliseconds: number): number {
    this.#alarm = milliseconds ? performance.now() + milliseconds : Infinity;
    return 0;
  }

  #readClock(clock: Call, values: number[]): number {
    if (++this.#clockReads > BUSY_WAIT_READS) Atomics.wait(this.#shared, CANCEL, 0, 1);
    this.deliver();
    const result = clock(...values);
    if (this.#awake && this.#backend) this.#endSleep(this.#backend, values[2] ?? 0);
    return result;
  }

  #endSleep({ HEAPU8 }: Signalled, address: number): void {
    const memory = new DataView(HEAPU8.buffer);
    memory.setBigUint64(address, memory.getBigUint64(address, true) + FAR_AHEAD, true);
    this.#awake = false;
  }
}

/** The part of PGlite's WebAssembly module that handles errors. The numbers are addresses of Postgres's variables. */
export interface ErrorHandling {
  HEAP32: Int32Array;
  _PG_exception_stack: number;
  _error_context_stack: number;
  addFunction(callback: () => void, signature: string): number;
}

/** The bytes by which the stack pointer is lowered: more than `max_stack_depth`, so that Postgres's own check fails. */
const BELOW_LIMIT = 1 << 20;

/** The number of JavaScript calls for which the stack must have room, so that Postgres can raise the error. */
const SPARE_CALLS = 1000;

/**
 * Turns an overflow of JavaScript's stack into an SQL error (54001), as Postgres does for its own stack.
 *
 * Postgres measures the part of its stack that is in WebAssembly's memory. Its call frames are on JavaScript's stack, which
 * Deno can't enlarge for a worker. Some functions, such as the JSON parser, use no memory, so they reach the end of
 * JavaScript's stack first. The RangeError unwinds the calls to the innermost function that handles SQL errors. That
 * function calls others through an import named `invoke_...`, and there Postgres's own check raises the error.
 */
export class StackGuard {
  #backend: ErrorHandling | undefined;
  #exports: WebAssembly.Exports = {};
  #raise = 0;

  /** Receives the main module's exports. */
  instantiated(exports: WebAssembly.Exports): void {
    this.#exports = exports;
  }

  attach(backend: ErrorHandling): void {
    this.#raise = backend.addFunction(() => this.#call("check_stack_depth"), "v");
    this.#backend = backend;
  }

  /** The stack pointer of Postgres's stack in memory. An exception that leaves WebAssembly does not restore it. */
  get top(): number {
    return this.#call("emscripten_stack_get_current");
  }

  set top(address: number) {
    this.#call("_emscripten_stack_restore", address);
  }

  /** Returns the replacement of an import, or the import itself. */
  wrap(name: string, value: WebAssembly.ImportValue): WebAssembly.ImportValue {
    if (!name.startsWith("invoke_")) return value;
    const invoke = value as Call;
    return (...values: number[]) => this.run(() => invoke(...values), () => invoke(this.#raise));
  }

  /** Calls Postgres. If JavaScript's stack overflows in the call, raises the SQL error. */
  run<T>(call: () => T, raise: () => T = () => this.#call("check_stack_depth") as T): T {
    if (this.#backend === undefined) return call();
    const { HEAP32, _PG_exception_stack: handler, _error_context_stack: context } = this.#backend;
    const [handlerBefore, contextBefore] = [HEAP32[handler >> 2]!, HEAP32[context >> 2]!];
    try {
      return call();
    } catch (error) {
      if (!isStackOverflow(error) || !fits(SPARE_CALLS)) throw error;
      const memory = this.#backend.HEAP32; // a new array if the memory has grown
      memory[handler >> 2] = handlerBefore;
      memory[context >> 2] = contextBefore;
      const { top } = this;
      this.top = top - BELOW_LIMIT;
      try {
        return raise();
      } finally {
        this.top = top;
      }
    }
  }

  #call(name: string, ...values: number[]): number {
    return (this.#exports[name] as Call)(...values);
  }
}

function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message.includes("call stack");
}

/** Whether the stack has room for this number of calls. */
function fits(calls: number): boolean {
  try {
    return calls === 0 || fits(calls - 1) && calls > 0; // a tail call would need no stack
  } catch {
    return false; // the stack has overflowed
  }
}

/** Lets the wrappers replace imports of the WebAssembly modules that start later: PGlite's own, and its extensions'. */
export function wrapImports(wrappers: readonly (Signals | StackGuard)[]): void {
  const { instantiate } = WebAssembly;
  let main: WebAssembly.Instance | undefined;
  const wrap = (module: WebAssembly.Module, imports: WebAssembly.Imports = {}): WebAssembly.Imports => {
    const copy: WebAssembly.Imports = {}; // PGlite's JavaScript compares its own imports by identity
    for (const { module: namespace, name } of WebAssembly.Module.imports(module)) {
      const value = imports[namespace]?.[name] as WebAssembly.ImportValue;
      (copy[namespace] ??= {})[name] = wrappers.reduce((wrapped, wrapper) => wrapper.wrap(name, wrapped), value);
    }
    return copy;
  };
  const wrapped = async (source: BufferSource | WebAssembly.Module, imports: WebAssembly.Imports): Promise<unknown> => {
    const module = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(source);
    const instance = await instantiate(module, wrap(module, imports));
    if (main === undefined) { for (const wrapper of wrappers) wrapper.instantiated(instance.exports); }
    main ??= instance;
    return module === source ? instance : { module, instance };
  };
  const Instance = new Proxy(WebAssembly.Instance, {
    construct: (target, [module, imports]) => new target(module, wrap(module, imports)),
  });
  Object.assign(WebAssembly, { instantiate: wrapped, Instance });
}
