import { displayLive, inNotebook, type LiveDisplay, settleDisplay } from "../notebook/display.ts";
import { renderOutcome, renderProgress } from "../notebook/progress.ts";
import { fitWidth } from "../notebook/text_width.ts";
import type { Moving, ProgressView } from "./progress.ts";
import { outcomeText, partDone, progressText } from "./progress_text.ts";

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
