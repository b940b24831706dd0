const PACKAGES = ["adbc-driver-postgresql==1.13.0", "connectorx==0.4.6", "polars==2.1.0", "pyarrow==26.0.1"];
const VENV = new URL("../../.cache/bench-python", import.meta.url).pathname;

/**
 * Milliseconds that ADBC and ConnectorX take to pull a query into Arrow. They are installed if that is possible.
 *
 * @returns The times by name; `undefined` if no Python can have these packages.
 */
export function pythonTimes(url: string, query: string): Promise<Record<string, number> | undefined> {
  return times("pull.py", url, query);
}

/** Milliseconds that polars takes to load a Parquet file with ADBC; see {@linkcode pythonTimes}. */
export function pythonLoadTimes(url: string, file: string): Promise<Record<string, number> | undefined> {
  return times("load.py", url, file);
}

async function times(script: string, ...args: string[]): Promise<Record<string, number> | undefined> {
  try {
    await installed();
    return JSON.parse(await run(`${VENV}/bin/python`, new URL(script, import.meta.url).pathname, ...args));
  } catch (error) {
    // deno-lint-ignore no-console -- a benchmark's output
    console.error(`without the Python packages: ${(error as Error).message}`);
    return undefined;
  }
}

/**
 * Writes Parquet files with large row groups, as pandas does.
 *
 * @param source The Parquet file to write again.
 * @returns Whether there is a Python that can do it.
 */
export async function writeLargeGroups(source: string, again: string, wide: string): Promise<boolean> {
  try {
    await installed();
    await run(`${VENV}/bin/python`, new URL("./large_groups.py", import.meta.url).pathname, source, again, wide);
    return true;
  } catch (error) {
    // deno-lint-ignore no-console -- a benchmark's output
    console.error(`without large row groups: ${(error as Error).message}`);
    return false;
  }
}

async function installed(): Promise<void> {
  const ready = await Deno.readTextFile(`${VENV}/ready`).catch(() => "");
  if (ready === PACKAGES.join(" ")) return;
  await run("python3", "-m", "venv", VENV);
  await run(`${VENV}/bin/python`, "-m", "pip", "install", "--quiet", ...PACKAGES);
  await Deno.writeTextFile(`${VENV}/ready`, PACKAGES.join(" "));
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr).trim().split("\n").at(-1)}`);
  return new TextDecoder().decode(stdout);
}
