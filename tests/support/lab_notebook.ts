import type { Locator, Page } from "npm:playwright-core@1.65.1";
import { eventually } from "./eventually.ts";
import type { Notebook } from "./notebook.ts";

export type Theme = "light" | "dark";

const themes = { light: "JupyterLab Light", dark: "JupyterLab Dark" };

const kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel";

/** The outputs of the page that take up space but show nothing. */
const emptyOutputs = `[...document.querySelectorAll(".jp-OutputArea-child")].filter((child) => {
  const output = child.querySelector(".jp-OutputArea-output");
  const shows = output && (output.textContent.trim() !== "" || output.querySelector("img, svg, canvas, iframe, table"));
  return !shows && child.getBoundingClientRect().height > 0;
}).length`;

/** A notebook in a window of JupyterLab, with the actions of a person. Cells count from 0. */
export class LabNotebook implements AsyncDisposable {
  /** The page, for actions that are missing here. */
  readonly page: Page;
  readonly #file: string;

  constructor(page: Page, file: string) {
    this.page = page;
    this.#file = file;
  }

  /** Waits until the notebook is visible and its kernel answers. */
  async ready(): Promise<void> {
    await this.page.waitForSelector(".jp-Notebook .jp-Cell");
    await this.page.evaluate("window.running = 0");
    await this.idle();
  }

  /** Runs one cell and waits until the kernel has finished it. */
  async run(cell: number, timeout?: number): Promise<void> {
    await this.start(cell);
    await this.idle(timeout);
  }

  /** Runs every cell and waits until the kernel has finished. */
  async runAll(timeout?: number): Promise<void> {
    await this.#command("notebook:run-all-cells");
    await this.idle(timeout);
  }

  /** Runs one cell without waiting for it. */
  async start(cell: number): Promise<void> {
    await this.page.evaluate(`window.jupyterapp.shell.currentWidget.content.activeCellIndex = ${cell}`);
    await this.#command("notebook:run-cell");
  }

  /** Presses the Stop button of the toolbar. */
  async stop(): Promise<void> {
    await this.page.click('.jp-NotebookPanel-toolbar [data-jp-item-name="interrupt"] jp-button');
  }

  /** Waits until no cell runs and the kernel reports that it is idle. `timeout` is in seconds. */
  async idle(timeout = 180): Promise<void> {
    const idle = `window.running === 0 && ${kernel}?.status === "idle"`;
    await this.page.waitForFunction(idle, undefined, { timeout: timeout * 1000 });
    // Deno's kernel sends some outputs after it has reported that it is idle, and no event announces them.
    await this.page.waitForTimeout(100);
  }

  /** Waits until a cell shows this text. */
  async shows(cell: number, text: string): Promise<void> {
    await this.outputs(cell).getByText(text).first().waitFor();
  }

  /**
   * Waits until the text of a cell's outputs matches, because outputs may arrive and be drawn after the cell has ended.
   *
   * @returns The text.
   */
  async showsMatch(cell: number, pattern: RegExp): Promise<string> {
    let text = "";
    const matches = async () => pattern.test(text = await this.outputText(cell));
    await eventually(`cell ${cell} shows ${pattern}`, matches).catch((error) => {
      throw new Error(`${error.message}; it shows: ${text}`);
    });
    return text;
  }

  /** The outputs of a cell as the page shows them. */
  outputs(cell: number): Locator {
    return this.#cell(cell).locator(".jp-OutputArea-output");
  }

  async outputHtml(cell: number): Promise<string> {
    const outputs = await Promise.all((await this.outputs(cell).all()).map((output) => output.innerHTML()));
    return outputs.join("\n");
  }

  async outputText(cell: number): Promise<string> {
    return (await this.outputs(cell).allInnerTexts()).join("\n");
  }

  /** The number of outputs that take up space but show nothing. */
  async emptyOutputs(): Promise<number> {
    return await this.page.evaluate(emptyOutputs);
  }

  async setTheme(theme: Theme): Promise<void> {
    await this.page.evaluate(`window.jupyterapp.commands.execute("apputils:change-theme", {
      theme: ${JSON.stringify(themes[theme])},
    })`);
    const shown = `body[data-jp-theme-light="${theme === "light"}"]`;
    await this.page.waitForSelector(shown, { state: "attached" });
    await this.page.waitForSelector("#jupyterlab-splash", { state: "detached" });
  }

  /** Saves a PNG of a range of cells, without marking the active one, if `LAKEBASE_SAVE_PICTURES` is 1. */
  async savePicture(to: URL, first: number, last: number): Promise<void> {
    if (Deno.env.get("LAKEBASE_SAVE_PICTURES") !== "1") return;
    await this.page.addStyleTag({ content: ".jp-cell-toolbar, .jp-Collapser { visibility: hidden !important }" });
    await this.page.addStyleTag({ content: ".jp-Notebook .jp-Cell::before { display: none !important }" });
    await this.page.setViewportSize({ width: 1150, height: 1600 });
    await this.#cell(last).scrollIntoViewIfNeeded();
    await this.page.evaluate("document.activeElement?.blur()");
    const [top, bottom] = [(await this.#cell(first).boundingBox())!, (await this.#cell(last).boundingBox())!];
    const clip = { x: top.x, y: top.y - 4, width: top.width, height: bottom.y + bottom.height - top.y + 8 };
    await Deno.writeFile(to, await this.page.screenshot({ clip }));
  }

  /** Saves the notebook, and reads the file. */
  async save(): Promise<Notebook> {
    await this.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()");
    return JSON.parse(await Deno.readTextFile(this.#file));
  }

  /** Closes the window and leaves the kernel running. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.close();
  }

  #cell(cell: number): Locator {
    return this.page.locator(".jp-Notebook .jp-Cell").nth(cell);
  }

  async #command(id: string): Promise<void> {
    await this.page.evaluate(`{
      window.running++;
      void window.jupyterapp.commands.execute(${JSON.stringify(id)}).finally(() => window.running--);
    }`);
  }
}
