/** What signals do to Postgres: addresses of its flags, in its memory. */
export interface Signalled {
  HEAPU8: Uint8Array;
  HEAP32: Int32Array;
  _InterruptPending: number;
  _QueryCancelPending: number;
}

type Call = (...values: number[]) => number;
type RaiseAlarm = (timer: number, now: number) => void;

/** The system calls that a query makes sooner or later, unless it only computes in memory. */
const WATCHED = ["fd_read", "fd_write", "fd_pread", "fd_pwrite", "clock_time_get", "emscripten_date_now"];

/** So many looks at the clock with nothing in between are a busy wait: WebAssembly has no other way to sleep. */
const BUSY_WAIT = 1000;

/** Nanoseconds, in a clock that is to end a sleep. */
const FAR_AHEAD = 10n ** 15n;

/**
 * Signals for a Postgres that can't be sent any: nothing else runs in its thread while a query does.
 *
 * A request to cancel and `statement_timeout` are delivered at the query's next system call. A query that makes none,
 * because all it does is compute in memory, runs to its end.
 */
export class Signals {
  readonly #shared: Int32Array;
  #backend: Signalled | undefined;
  #raiseAlarm: RaiseAlarm | undefined;
  #alarm = Infinity;
  #looks = 0;
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

  /** Forgets what came too late for the query that it was meant for. */
  clear(): void {
    if (this.#backend) this.#backend.HEAP32[this.#backend._QueryCancelPending >> 2] = 0;
    this.#awake = false;
  }

  /**
   * Delivers what is due.
   *
   * @throws {Error} Where the database is to end: to terminate its worker does not end a query, which would go on for good.
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
    if (name === "clock_time_get") return (...values: number[]) => this.#look(call, values);
    return (...values: number[]): number => {
      this.#looks = 0;
      this.deliver();
      return call(...values);
    };
  }

  #setAlarm(milliseconds: number): number {
    this.#alarm = milliseconds ? performance.now() + milliseconds : Infinity;
    return 0;
  }

  #look(clock: Call, values: number[]): number {
    if (++this.#looks > BUSY_WAIT) Atomics.wait(this.#shared, CANCEL, 0, 1);
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

/** The memory that the database's host and worker share, an Int32 each. A worker that is blocked hears of nothing else. */

/** Bytes of output on their way to the host. */
export const OUTSTANDING = 0;
/** Inputs that the host has sent through the inbox. */
export const SENT = 1;
/** 1 where the host wants the running query cancelled. */
export const CANCEL = 2;
/** 1 where the database is to end, whatever it does. */
export const STOP = 3;
/** How many there are. */
export const SLOTS = 4;
