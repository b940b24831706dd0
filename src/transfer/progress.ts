import { fitWidth } from "../core/text.ts";
import { displayLive, inNotebook, type LiveDisplay, settleDisplay } from "../draw/notebook.ts";
import {
  fractionDone,
  outcomeText,
  type Progress,
  progressText,
  type ProgressTitle,
  renderOutcome,
  renderProgress,
} from "../draw/progress.ts";

/** Shows the progress of a transfer to a person. */
export interface ProgressView {
  /** Shows the progress. */
  draw(progress: Progress): Promise<void> | void;
  /** Shows how the transfer ended, or removes the progress. `progress.done` says whether the transfer is complete. */
  end(progress: Progress): Promise<void> | void;
}

/** What a meter measures, and who gets its reports. */
export interface MeterOptions extends ProgressTitle {
  /** The estimated number of all rows. A function is called only after the transfer has taken long enough to be shown. */
  totalRows?: number | (() => Promise<number | undefined>) | undefined;
  /** The number of all bytes. */
  totalBytes?: number | undefined;
  /**
   * Is called at most four times a second while rows move, and once at the end. It is not called again before a promise that
   * it returned has settled.
   */
  onProgress?: ((progress: Progress) => void) | ((progress: Progress) => Promise<void>) | undefined;
  /** Whether the progress is shown in a cell or on a terminal. @default {true} */
  show?: boolean | undefined;
  /** What shows the progress. @default {the cell, or else standard error if that is a terminal, or else none} */
  view?: ProgressView | undefined;
}

/** Measures a transfer, until it is disposed of. */
export interface Meter extends AsyncDisposable {
  /**
   * Counts rows and bytes that have moved.
   *
   * @throws What `onProgress` threw, or rejected with before.
   */
  add(rows: number, bytes: number): void;
  /**
   * Reports that the transfer is complete, and waits for `onProgress`. A transfer that ends without this call has failed.
   *
   * @throws What `onProgress` threw, or rejected with.
   */
  complete(): Promise<void>;
}

/** The milliseconds within which a transfer is not shown. */
const SHOWN_AFTER_MS = 1000;
/** The milliseconds between two reports. */
const REPORT_EVERY_MS = 250;

/** Begins to measure a transfer, which is shown when it takes longer than a second. */
export function startMeter(options: MeterOptions): Meter {
  return new TransferMeter(options);
}

class TransferMeter implements Meter {
  readonly #options: MeterOptions;
  readonly #view: ProgressView | undefined;
  readonly #started = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #drawing: Promise<void> | undefined;
  #shown = false;
  #rows = 0;
  #bytes = 0;
  #totalRows: number | undefined;
  #isTotalRequested = false;
  #lastReport: number;
  #ended: Progress | undefined;
  /** The promise that `onProgress` has returned, until it settles. */
  #reporting: Promise<void> | undefined;
  /** The reason for which that promise rejected. */
  #failure: { error: unknown } | undefined;

  constructor(options: MeterOptions) {
    this.#options = options;
    const { show = true, totalRows } = options;
    this.#view = show ? options.view ?? defaultView(options) : undefined;
    if (typeof totalRows === "number") this.#totalRows = totalRows;
    this.#lastReport = this.#started;
    if (this.#view !== undefined) this.#timer = setTimeout(() => this.#tick(), SHOWN_AFTER_MS);
  }

  add(rows: number, bytes: number): void {
    this.#rows += rows;
    this.#bytes += bytes;
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#options.onProgress === undefined || this.#reporting !== undefined) return;
    const now = performance.now();
    if (now - this.#lastReport < REPORT_EVERY_MS) return;
    this.#lastReport = now;
    if (now - this.#started >= SHOWN_AFTER_MS) this.#requestTotal();
    this.#report(this.#progress(false));
  }

  async complete(): Promise<void> {
    await this.#untilReported();
    const ended = this.#progress(true);
    this.#report({ ...ended });
    await this.#untilReported();
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

  /** The rows do not wait for the promise: logging the progress over a network would slow the transfer down. */
  #report(progress: Progress): void {
    const reporting = this.#options.onProgress?.(progress);
    if (reporting === undefined) return;
    const failed = (error: unknown) => void (this.#failure = { error });
    this.#reporting = Promise.resolve(reporting).catch(failed).then(() => this.#reporting = undefined);
  }

  async #untilReported(): Promise<void> {
    await this.#reporting;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #tick(): void {
    this.#requestTotal();
    this.#shown = true;
    // A slow frontend gets fewer updates instead of a queue of them.
    this.#drawing ??= attempt(() => this.#view?.draw(this.#progress(false))).then(() => this.#drawing = undefined);
    this.#timer = setTimeout(() => this.#tick(), REPORT_EVERY_MS);
  }

  /** Gets the estimate only for a transfer that is shown, because the estimate costs a query. */
  #requestTotal(): void {
    const { totalRows } = this.#options;
    if (this.#isTotalRequested || typeof totalRows !== "function") return;
    this.#isTotalRequested = true;
    (async () => this.#totalRows = await totalRows())().catch(() => {}); // without it, no total is shown
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

/** A failure to show the progress must not end the transfer. */
async function attempt(show: () => Promise<void> | void): Promise<void> {
  try {
    await show();
  } catch {
    // The terminal was closed, or the frontend is gone.
  }
}

/** A terminal. */
interface Terminal {
  /** Writes a text. */
  write(text: string): Promise<void>;
  /** The number of characters in a line. */
  columns(): number;
}

/** Shows the progress in the running cell, or else on the terminal; `undefined` if there is neither. */
function defaultView(title: ProgressTitle): ProgressView | undefined {
  if (inNotebook()) return cellView(title);
  return Deno.stderr.isTerminal() ? terminalView(title, standardError) : undefined;
}

/** Shows the progress as one output of the running cell, which is updated and stays. */
function cellView(title: ProgressTitle): ProgressView {
  let display: LiveDisplay | undefined;
  const show = async (bundle: ReturnType<typeof renderOutcome>) => {
    if (display === undefined) display = await displayLive(bundle);
    else await display.update(bundle);
  };
  return {
    draw: (progress) => show(renderProgress(progressText(title, progress), fractionDone(progress))),
    async end(progress) {
      await show(renderOutcome(outcomeText(title, progress)));
      await settleDisplay();
    },
  };
}

/** Shows the progress as one line, and erases it at the end, because the caller reports the result. */
export function terminalView(title: ProgressTitle, terminal: Terminal): ProgressView {
  return {
    // One column stays free, because some terminals begin the next line as soon as a line is full.
    draw: (progress) => terminal.write(`\r${fitWidth(progressText(title, progress), terminal.columns() - 1)}\x1b[K`),
    end: () => terminal.write("\r\x1b[K"),
  };
}

const DEFAULT_COLUMNS = 80;
const ENCODER = new TextEncoder();

const standardError: Terminal = {
  write: async (text) => {
    await Deno.stderr.write(ENCODER.encode(text)); // not writeSync, which would block the transfer on a paused terminal
  },
  columns: () => {
    try {
      return Deno.consoleSize().columns || DEFAULT_COLUMNS; // a terminal that does not know its size returns 0
    } catch {
      return DEFAULT_COLUMNS;
    }
  },
};
