/** The part of PGlite's WebAssembly module that handles errors: addresses of Postgres's variables, in its memory. */
export interface ErrorHandling {
  HEAP32: Int32Array;
  _PG_exception_stack: number;
  _error_context_stack: number;
  addFunction(callback: () => void, signature: string): number;
}

type Call = (...values: number[]) => number;

/** More than `max_stack_depth`, so that Postgres's check fails this far down. */
const BELOW_LIMIT = 1 << 20;

/** JavaScript calls that must fit on the stack before an error is raised: raising one calls functions, too. */
const SPARE_CALLS = 1000;

/**
 * Makes the end of JavaScript's stack an SQL error (54001), as the end of Postgres's own stack is.
 *
 * Postgres measures the part of its stack that lies in WebAssembly's memory. Its call frames lie on JavaScript's stack,
 * which Deno cannot enlarge for a worker: the JSON parser, whose frames hold nothing in memory, reaches that end first.
 * The RangeError then ends functions up to the innermost one that handles SQL errors. Such a function calls others through
 * an import named `invoke_`, and there Postgres's own check raises the error.
 */
export class StackGuard {
  #backend: ErrorHandling | undefined;
  #exports: WebAssembly.Exports = {};
  #raise = 0;

  /** Takes the main module's exports. */
  instantiated(exports: WebAssembly.Exports): void {
    this.#exports = exports;
  }

  attach(backend: ErrorHandling): void {
    this.#raise = backend.addFunction(() => this.#call("check_stack_depth"), "v");
    this.#backend = backend;
  }

  /** Where Postgres's stack in memory ends now. An exception that leaves WebAssembly does not restore it. */
  get top(): number {
    return this.#call("emscripten_stack_get_current");
  }

  set top(address: number) {
    this.#call("_emscripten_stack_restore", address);
  }

  /** The import to use in place of one of this name. */
  wrap(name: string, value: WebAssembly.ImportValue): WebAssembly.ImportValue {
    if (!name.startsWith("invoke_")) return value;
    const invoke = value as Call;
    return (...values: number[]) => this.run(() => invoke(...values), () => invoke(this.#raise));
  }

  /** Calls Postgres; where JavaScript's stack ends in the call, raises the SQL error. */
  run<T>(call: () => T, raise: () => T = () => this.#call("check_stack_depth") as T): T {
    if (this.#backend === undefined) return call();
    const { HEAP32, _PG_exception_stack: handler, _error_context_stack: context } = this.#backend;
    const [handlerBefore, contextBefore] = [HEAP32[handler >> 2]!, HEAP32[context >> 2]!];
    try {
      return call();
    } catch (error) {
      if (!isStackOverflow(error) || !fits(SPARE_CALLS)) throw error;
      const memory = this.#backend.HEAP32; // a new one where the memory has grown
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

function fits(calls: number): boolean {
  try {
    return calls === 0 || fits(calls - 1) && calls > 0; // no tail call, which would need no stack
  } catch {
    return false;
  }
}
