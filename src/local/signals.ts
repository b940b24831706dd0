/** Addresses of the flags that signals set in Postgres's memory. */
export interface Signalled {
  HEAPU8: Uint8Array;
  HEAP32: Int32Array;
  _InterruptPending: number;
  _QueryCancelPending: number;
}

type Call = (...values: number[]) => number;
type RaiseAlarm = (timer: number, now: number) => void;

/** The system calls that a query makes now and then, unless it only computes in memory. */
const WATCHED = ["fd_read", "fd_write", "fd_pread", "fd_pwrite", "clock_time_get", "emscripten_date_now"];

/** Consecutive clock reads that count as a busy wait: WebAssembly has no other way to sleep. */
const BUSY_WAIT_READS = 1000;

/** Nanoseconds added to the clock to end a sleep. */
const FAR_AHEAD = 10n ** 15n;

/**
 * Signals for a Postgres that cannot receive any, because nothing else runs in its thread during a query.
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
  #awake = false;

  constructor(shared: Int32Array) {
    this.#shared = shared;
  }

  /** Takes the main module's exports. */
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

  /** The import to use in place of one of this name. */
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

/** Indexes of the Int32 values that host and worker share. A blocked worker can receive nothing else. */

/** Bytes of output that the host has not processed yet. */
export const OUTSTANDING = 0;
/** Number of inputs that the host has sent through the inbox. */
export const SENT = 1;
/** 1 if the running query is to be canceled. */
export const CANCEL = 2;
/** 1 if the database is to end, even during a query. */
export const STOP = 3;
/** Number of shared values. */
export const SLOTS = 4;
