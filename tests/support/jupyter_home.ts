/** Separate Jupyter folders for a test, with Deno's kernel as `deno jupyter --install` installs it. */
export class JupyterHome implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async make(): Promise<JupyterHome> {
    const folder = await Deno.makeTempDir({ prefix: "lakebase-jupyter-" });
    const home = new JupyterHome(folder);
    try {
      await home.#installDeno();
      return home;
    } catch (error) {
      await home[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The folder of kernels: `<data>/kernels/<name>/kernel.json`. */
  get data(): string {
    return `${this.#folder}/jupyter`;
  }

  /** The environment variables for a Jupyter process that is started here. */
  get env(): Record<string, string> {
    return {
      JUPYTER_DATA_DIR: this.data,
      JUPYTER_CONFIG_DIR: `${this.#folder}/config`,
      JUPYTER_RUNTIME_DIR: `${this.#folder}/runtime`,
      JUPYTERLAB_SETTINGS_DIR: `${this.#folder}/settings`,
      JUPYTERLAB_WORKSPACES_DIR: `${this.#folder}/workspaces`,
      IPYTHONDIR: `${this.#folder}/ipython`,
      JUPYTER_PLATFORM_DIRS: "1",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }

  /** The files of `deno jupyter --install` are the same each time, except for the folder. */
  async #installDeno(): Promise<void> {
    const files = await (installed ??= this.#install());
    await Deno.mkdir(`${this.data}/kernels/deno`, { recursive: true });
    for (const [name, bytes] of files) await Deno.writeFile(`${this.data}/kernels/deno/${name}`, bytes);
  }

  async #install(): Promise<[name: string, bytes: Uint8Array][]> {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["jupyter", "--install"],
      env: { XDG_DATA_HOME: this.#folder },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(`deno jupyter --install failed: ${new TextDecoder().decode(stderr)}`);
    // macOS has no XDG folders, so the kernel is installed in the user's own folder.
    const kernel = `${this.data}/kernels/deno`;
    await Deno.stat(`${kernel}/kernel.json`);
    const names = [...Deno.readDirSync(kernel)].map(({ name }) => name);
    return await Promise.all(
      names.map(async (name): Promise<[string, Uint8Array]> => [name, await Deno.readFile(`${kernel}/${name}`)]),
    );
  }
}

/** The files of Deno's kernel, after this process has installed it. */
let installed: Promise<[name: string, bytes: Uint8Array][]> | undefined;
