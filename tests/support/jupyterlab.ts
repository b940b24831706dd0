import type { Browser } from "npm:playwright-core@1.65.1";
import { chromiumMissing, launchChromium } from "./chromium.ts";
import { JupyterHome } from "./jupyter_home.ts";
import { LabNotebook, type Theme } from "./lab_notebook.ts";
import type { Notebook } from "./notebook.ts";
import { freePort } from "./port.ts";
import { pythonWith } from "./python.ts";
import { ServerProcess } from "./server_process.ts";

export interface LabOptions {
  /** Variables that are added to this process's environment, and so to that of each kernel. */
  env?: Record<string, string>;
  /** A Jupyter with further kernels installed. */
  home?: JupyterHome;
  /** The folder that is served; a temporary one by default. */
  folder?: string;
}

export interface OpenOptions {
  theme?: Theme;
  width?: number;
  height?: number;
}

/** The reason why `JupyterLab.start` can't work here. */
export function jupyterLabMissing(): string | undefined {
  const python = pythonWith("jupyterlab")
    ? undefined
    : "no Python with jupyterlab found; pip install jupyterlab, or set LAKEBASE_TEST_PYTHON";
  return python ?? chromiumMissing();
}

/** A real JupyterLab with a browser. Disposing of it ends every kernel. */
export class JupyterLab implements AsyncDisposable {
  readonly #folder: string;
  readonly #url: string;
  readonly #token: string;
  readonly #browser: Browser;
  readonly #resources: AsyncDisposableStack;
  #written = 0;

  private constructor(
    server: { folder: string; url: string; token: string },
    browser: Browser,
    resources: AsyncDisposableStack,
  ) {
    this.#folder = server.folder;
    this.#url = server.url;
    this.#token = server.token;
    this.#browser = browser;
    this.#resources = resources;
  }

  static async start(options: LabOptions = {}): Promise<JupyterLab> {
    const missing = jupyterLabMissing();
    if (missing) throw new Error(missing);
    await using resources = new AsyncDisposableStack();
    const home = options.home ?? resources.use(await JupyterHome.make());
    const folder = options.folder ?? await temporaryFolder(resources);
    await writeSettings(home);
    const server = await startServer({ home, folder, env: options.env ?? {} }, resources);
    const browser = await launchChromium();
    resources.defer(() => browser.close());
    return new JupyterLab({ folder, ...server }, browser, resources.move());
  }

  /** The folder that is served. */
  get folder(): string {
    return this.#folder;
  }

  /** Opens a notebook of the served folder, or first writes one there, in a separate window, and waits for its kernel. */
  async open(notebook: string | Notebook, options: OpenOptions = {}): Promise<LabNotebook> {
    const { theme = "light", width = 1100, height = 900 } = options;
    const path = typeof notebook === "string" ? notebook : await this.#write(notebook);
    const page = await this.#browser.newPage({ viewport: { width, height }, deviceScaleFactor: 2 });
    page.setDefaultTimeout(180_000); // a busy machine takes more than Playwright's 30 seconds to load JupyterLab
    const workspace = crypto.randomUUID();
    await page.goto(`${this.#url}/lab/workspaces/${workspace}/tree/${path}?token=${this.#token}`);
    const opened = new LabNotebook(page, `${this.#folder}/${path}`);
    await opened.ready();
    await opened.setTheme(theme);
    return opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #write(notebook: Notebook): Promise<string> {
    const path = `notebook-${++this.#written}.ipynb`;
    await Deno.writeTextFile(`${this.#folder}/${path}`, JSON.stringify(notebook));
    return path;
  }
}

async function temporaryFolder(resources: AsyncDisposableStack): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-lab-" });
  resources.defer(() => Deno.remove(folder, { recursive: true }));
  return folder;
}

/** Settings that keep every cell in the page, so that it can be read, and that show no popups. */
async function writeSettings(home: JupyterHome): Promise<void> {
  const settings = {
    "notebook-extension/tracker": { windowingMode: "none" },
    "apputils-extension/notification": { fetchNews: "false", checkForUpdates: false, doNotDisturbMode: true },
  };
  for (const [name, values] of Object.entries(settings)) {
    const file = `${home.env["JUPYTERLAB_SETTINGS_DIR"]}/@jupyterlab/${name}.jupyterlab-settings`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(file, JSON.stringify(values));
  }
}

async function startServer(
  { home, folder, env }: { home: JupyterHome; folder: string; env: Record<string, string> },
  resources: AsyncDisposableStack,
): Promise<{ url: string; token: string }> {
  const token = crypto.randomUUID();
  const port = freePort();
  const flags = {
    "ServerApp.ip": "127.0.0.1",
    "ServerApp.port": port,
    "ServerApp.port_retries": 0,
    "ServerApp.root_dir": folder,
    "ServerApp.open_browser": "False",
    "ServerApp.allow_root": "True",
    "IdentityProvider.token": token,
    "LabApp.expose_app_in_browser": "True",
  };
  const server = await ServerProcess.start({
    command: pythonWith("jupyterlab") ?? "python3",
    args: ["-m", "jupyterlab", ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)],
    log: `${home.data}/jupyterlab.log`,
    cwd: folder,
    env: { ...home.env, ...env },
  });
  resources.defer(() => server.end("SIGTERM"));
  const url = `http://127.0.0.1:${port}`;
  if (await server.ready(() => answers(`${url}/api/status?token=${token}`), 180_000)) return { url, token };
  throw new Error(`JupyterLab did not start:\n${await server.log()}`);
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
