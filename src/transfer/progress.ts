import { fitWidth } from "../core/text.ts";
import { displayLive, inNotebook, type LiveDisplay, settleDisplay } from "../draw/notebook.ts";
import {
  type Moving,
  outcomeText,
  partDone,
  type Progress,
  progressText,
  renderOutcome,
  renderProgress,
} from "../draw/progress.ts";

export type { Moving, Progress };

/** Where a person sees how far it is. */
export interface ProgressView {
  /** Shows how far it is. */
  draw(progress: Progress): Promise<void> | void;
  /** Shows how it ended, or leaves no trace: `progress.done` says whether it is whole. */
  end(progress: Progress): Promise<void> | void;
}

/** What a meter measures, and who is told. */
export interface MeterOptions extends Moving {
  /** Rows there will be, about; a function is asked once it takes long enough to be shown. */
  totalRows?: number | (() => Promise<number | undefined>) | undefined;
  /** Bytes there will be. */
  totalBytes?: number | undefined;
  /** Told at most four times a second, while rows move, and once at the end. It is not called while a promise of it pends. */
  onProgress?: ((progress: Progress) => void) | ((progress: Progress) => Promise<void>) | undefined;
  /** Whether it is shown in a cell or on a terminal. @default {true} */
  show?: boolean | undefined;
  /** Where it is shown. @default {the cell, else standard error where that is a terminal, else nowhere} */
  view?: ProgressView | undefined;
}

/** Measures a transfer. Disposing of it ends it. */
export interface Meter extends AsyncDisposable {
  /**
   * Counts what has moved.
   *
   * @throws What `onProgress` threw, or had rejected with.
   */
  add(rows: number, bytes: number): void;
  /**
   * Says that everything is done, and waits until `onProgress` has heard it; without it, the end is that of a failure.
   *
   * @throws What `onProgress` threw, or rejected with.
   */
  complete(): Promise<void>;
}

/** What is over within this time is not worth a line. */
const SHOWN_AFTER_MS = 1000;
/** Between two reports: a person reads no faster. */
const REPORT_EVERY_MS = 250;

/** Begins to measure a transfer, and shows it from its second second on. */
export function startMeter(options: MeterOptions): Meter {
  return new ShownMeter(options);
}

class ShownMeter implements Meter {
  readonly #options: MeterOptions;
  readonly #view: ProgressView | undefined;
  readonly #started = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #drawing: Promise<void> | undefined;
  #shown = false;
  #rows = 0;
  #bytes = 0;
  #totalRows: number | undefined;
  #asked = false;
  #reported: number;
  #ended: Progress | undefined;
  /** A promise of `onProgress` that pends. */
  #telling: Promise<void> | undefined;
  /** What it rejected with. */
  #failure: { error: unknown } | undefined;

  constructor(options: MeterOptions) {
    this.#options = options;
    const { show = true, totalRows } = options;
    this.#view = show ? options.view ?? usualView(options) : undefined;
    if (typeof totalRows === "number") this.#totalRows = totalRows;
    this.#reported = this.#started;
    if (this.#view !== undefined) this.#timer = setTimeout(() => this.#tick(), SHOWN_AFTER_MS);
  }

  add(rows: number, bytes: number): void {
    this.#rows += rows;
    this.#bytes += bytes;
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#options.onProgress === undefined || this.#telling !== undefined) return;
    const now = performance.now();
    if (now - this.#reported < REPORT_EVERY_MS) return;
    this.#reported = now;
    if (now - this.#started >= SHOWN_AFTER_MS) this.#askTotal();
    this.#tell(this.#progress(false));
  }

  async complete(): Promise<void> {
    await this.#told();
    const ended = this.#progress(true);
    this.#tell({ ...ended });
    await this.#told();
    this.#ended = ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#drawing;
    if (!this.#shown) return;
    this.#shown = false;
    await attempt(() => this.#view?.end(this.#ended ?? this.#progress(false)));
  }

  /** The rows do not wait for a promise: who logs the progress over a network would slow them down. */
  #tell(progress: Progress): void {
    const telling = this.#options.onProgress?.(progress);
    if (telling === undefined) return;
    const failed = (error: unknown) => void (this.#failure = { error });
    this.#telling = Promise.resolve(telling).catch(failed).then(() => this.#telling = undefined);
  }

  async #told(): Promise<void> {
    await this.#telling;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #tick(): void {
    this.#askTotal();
    this.#shown = true;
    // A frontend that takes its time gets fewer updates, not a queue of them.
    this.#drawing ??= attempt(() => this.#view?.draw(this.#progress(false))).then(() => this.#drawing = undefined);
    this.#timer = setTimeout(() => this.#tick(), REPORT_EVERY_MS);
  }

  /** An estimate is worth a query only where somebody waits for the end; without one there is none to show. */
  #askTotal(): void {
    const { totalRows } = this.#options;
    if (this.#asked || typeof totalRows !== "function") return;
    this.#asked = true;
    (async () => this.#totalRows = await totalRows())().catch(() => {});
  }

  #progress(done: boolean): Progress {
    const elapsed = performance.now() - this.#started;
    const { totalBytes } = this.#options;
    const perSecond = (amount: number) => elapsed > 0 ? amount / elapsed * 1000 : 0;
    return {
      rows: this.#rows,
      bytes: this.#bytes,
      elapsed,
      rowsPerSecond: perSecond(this.#rows),
      bytesPerSecond: perSecond(this.#bytes),
      ...(this.#totalRows === undefined ? {} : { totalRows: this.#totalRows }),
      ...(totalBytes === undefined ? {} : { totalBytes }),
      done,
    };
  }
}

/** Showing must never fail what is shown. */
async function attempt(show: () => Promise<void> | void): Promise<void> {
  try {
    await show();
  } catch {
    // A closed terminal or a frontend that is gone: nobody looks.
  }
}

/** What a line on a terminal needs of it. */
export interface Terminal {
  /** Writes it. */
  write(text: string): Promise<void>;
  /** Characters in a line. */
  columns(): number;
}

/** Where a person who runs this looks: the cell, or a terminal; `undefined` where nobody does. */
export function usualView(moving: Moving): ProgressView | undefined {
  if (inNotebook()) return cellView(moving);
  return Deno.stderr.isTerminal() ? terminalView(moving, standardError) : undefined;
}

/** One output of the running cell, which changes and stays. */
function cellView(moving: Moving): ProgressView {
  let display: LiveDisplay | undefined;
  const show = async (bundle: ReturnType<typeof renderOutcome>) => {
    if (display === undefined) display = await displayLive(bundle);
    else await display.update(bundle);
  };
  return {
    draw: (progress) => show(renderProgress(progressText(moving, progress), partDone(progress))),
    async end(progress) {
      await show(renderOutcome(outcomeText(moving, progress)));
      await settleDisplay();
    },
  };
}

/** One line, written over and erased at the end: what came of it is said by whoever asked for it. */
export function terminalView(moving: Moving, terminal: Terminal): ProgressView {
  return {
    // One character is left free: in a full line some terminals begin the next one.
    draw: (progress) => terminal.write(`\r${fitWidth(progressText(moving, progress), terminal.columns() - 1)}\x1b[K`),
    end: () => terminal.write("\r\x1b[K"),
  };
}

const USUAL_COLUMNS = 80;
const ENCODER = new TextEncoder();

const standardError: Terminal = {
  write: async (text) => {
    await Deno.stderr.write(ENCODER.encode(text)); // not writeSync: a terminal that was halted would halt the transfer
  },
  columns: () => {
    try {
      return Deno.consoleSize().columns || USUAL_COLUMNS; // a terminal that was not told its size says 0
    } catch {
      return USUAL_COLUMNS;
    }
  },
};
