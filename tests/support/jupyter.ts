import { install } from "../../src/kernel/install.ts";
import { JupyterHome } from "./jupyter_home.ts";
import { LineServer } from "./line_server.ts";
import { type Notebook, notebookOf } from "./notebook.ts";
import { pythonWith } from "./python.ts";

export interface JupyterOptions {
  /** The folder in which the kernel runs; a temporary one by default. */
  cwd?: string;
  /** Variables that are added to this process's environment. */
  env?: Record<string, string>;
  /** Seconds that one cell may take; enough for a busy machine by default. */
  timeout?: number;
  /** The kernel's name; Deno's own kernel by default. */
  kernel?: string;
  /** A Jupyter with further kernels installed. */
  home?: JupyterHome;
}

export interface NotebookOptions extends JupyterOptions {
  /** Whether to continue after a cell that fails, without throwing. */
  allowErrors?: boolean;
}

export interface CellsOptions extends JupyterOptions {
  /** Seconds to listen after a cell's `idle` or its kernel's end. */
  settle?: number;
}

export interface KernelCell {
  code: string;
  /** Seconds after which to press Stop. */
  interruptAfter?: number;
  /** A text that the cell writes or draws, at which to press Stop. */
  interruptAt?: string;
}

/** A separate Jupyter folder with this module's kernel. `options` are for `runCells` and `runNotebook`. */
interface InstalledKernel extends AsyncDisposable {
  options: { kernel: string; env: Record<string, string> };
  /** The folder of the kernel. */
  folder: string;
}

/** Installs the kernel as a user does, into a folder that is removed afterwards. */
export async function installedKernel(): Promise<InstalledKernel> {
  const prefix = await Deno.makeTempDir({ prefix: "lakebase-prefix-" });
  const { name, folder } = await install({ prefix });
  return {
    options: { kernel: name, env: { JUPYTER_PATH: `${prefix}/share/jupyter` } },
    folder,
    [Symbol.asyncDispose]: () => Deno.remove(prefix, { recursive: true }),
  };
}

/**
 * Code for a cell before the others. `goes(text)` prints "go" once a connection of `db` has sent a statement with that
 * text, because an earlier Stop belongs to the kernel. `apart()` waits until Stop counts as the first one again,
 * because a second Stop within two seconds belongs to the kernel.
 */
export const GOES = `
  async function goes(text) {
    const sent = () => db.pool._clients.some((client) => client._activeQuery?.text?.includes(text));
    while (!sent()) await new Promise((resolve) => setTimeout(resolve, 20));
    console.log("go");
  }
  const { now } = Date;
  let ahead = 0;
  Date.now = () => now() + ahead;
  const apart = () => void (ahead += 2000);
`;

/** A message of a kernel to all frontends; `late` if it came after the cell's `idle`. */
export interface KernelMessage {
  type: string;
  content: Record<string, unknown>;
  /** Seconds since the cell was sent, or, if `late`, since the one that ran. */
  at: number;
  late: boolean;
}

export interface KernelReply {
  status: string;
  ename?: string;
  evalue?: string;
  traceback?: string[];
}

export interface CellRun {
  /** The messages in the order in which they arrived. */
  messages: KernelMessage[];
  /** Whether the kernel reported that the cell has ended. */
  idle: boolean;
  reply: KernelReply | null;
}

export interface KernelRun {
  /** The outcome of each cell; fewer if the kernel died. */
  cells: CellRun[];
  /** Whether the kernel was alive after the last cell. */
  alive: boolean;
}

/** The reason why `runNotebook` and `runCells` can't work here. */
export function jupyterMissing(): string | undefined {
  return python() ? undefined : "no Python with nbclient found; pip install nbclient, or set LAKEBASE_TEST_PYTHON";
}

/** Runs a notebook, from a file or from cells of code, under nbclient, and returns it with its outputs. */
export async function runNotebook(source: string | string[], options: NotebookOptions = {}): Promise<Notebook> {
  const { allowErrors = false, kernel = "deno" } = options;
  const notebook = typeof source === "string"
    ? JSON.parse(await Deno.readTextFile(source))
    : notebookOf(source, kernel);
  const answer = await drive<{ notebook: Notebook; error: string | null }>({ notebook, allowErrors }, options);
  if (answer.error !== null) throw new Error(answer.error);
  return answer.notebook;
}

/** Runs cells on a kernel like a frontend, and returns all messages that the kernel sent. */
export async function runCells(cells: (string | KernelCell)[], options: CellsOptions = {}): Promise<KernelRun> {
  const { settle = 0.1 } = options;
  const requests = cells.map((cell) => typeof cell === "string" ? { code: cell } : cell);
  return await drive<KernelRun>({ cells: requests, settle }, options);
}

/** The messages that the frontends of one kernel got: for each frontend a list with the outcome of each of its cells. */
export interface FrontendsRun {
  frontends: CellRun[][];
  alive: boolean;
}

/** The messages of a cell that a person sees: its outputs, drawings and errors. */
export function outputsOf({ messages }: CellRun): KernelMessage[] {
  return messages.filter(({ type }) => type !== "status" && type !== "execute_input");
}

/** Runs a cell, and then the cells of several frontends, which all send theirs at the same time, on one kernel. */
export async function runFrontends(
  before: string,
  frontends: string[][],
  options: JupyterOptions = {},
): Promise<FrontendsRun> {
  return await drive<FrontendsRun>({ before, frontends, settle: 0.1 }, options);
}

function python(): string | undefined {
  return pythonWith("nbclient", "nbformat", "jupyter_client");
}

/** Calls the Python script beside this file. */
async function drive<Answer>(request: Record<string, unknown>, options: JupyterOptions): Promise<Answer> {
  const interpreter = python();
  if (interpreter === undefined) throw new Error(jupyterMissing());
  driver ??= startDriver(interpreter);
  const { timeout = 180, kernel = "deno" } = options;
  await using stack = new AsyncDisposableStack();
  const home = options.home ?? stack.use(await JupyterHome.make());
  const cwd = options.cwd ?? await temporaryFolder(stack);
  const env = { ...Deno.env.toObject(), ...home.env, ...options.env };
  return await driver.ask<Answer>({ ...request, kernel, timeout, cwd, env });
}

async function temporaryFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-cwd-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  return folder;
}

/** The Python process of this test process. */
let driver: LineServer | undefined;

function startDriver(interpreter: string): LineServer {
  const script = decodeURIComponent(new URL("./jupyter_driver.py", import.meta.url).pathname);
  return new LineServer("the Jupyter driver", interpreter, { args: [script] });
}

/** Ends the Python process, if there is one. */
export async function endJupyter(): Promise<void> {
  await driver?.close();
  driver = undefined;
}

// Before all tests, so that the process does not belong to a test.
Deno.test.beforeAll(() => {
  const interpreter = python();
  if (interpreter !== undefined) driver = startDriver(interpreter);
});
Deno.test.afterAll(endJupyter);
