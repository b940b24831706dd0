const PACKAGES = ["adbc-driver-postgresql==1.13.0", "connectorx==0.4.6", "pyarrow==26.0.1"];
const VENV = new URL("../../.cache/bench-python", import.meta.url).pathname;

/**
 * Milliseconds that ADBC and ConnectorX take to pull a query into Arrow; they are installed where that is possible.
 *
 * @returns By name; `undefined` where there is no Python that can have them.
 */
export async function pythonTimes(url: string, query: string): Promise<Record<string, number> | undefined> {
  try {
    await Deno.stat(`${VENV}/ready`).catch(install);
    const script = new URL("./pull.py", import.meta.url).pathname;
    return JSON.parse(await run(`${VENV}/bin/python`, script, url, query));
  } catch (error) {
    // deno-lint-ignore no-console -- a benchmark's output
    console.error(`without ADBC and ConnectorX: ${(error as Error).message}`);
    return undefined;
  }
}

/**
 * Writes Parquet files with large row groups, as pandas does.
 *
 * @param source A Parquet file, which is written again.
 * @returns Whether there is a Python that can.
 */
export async function writeLargeGroups(source: string, again: string, wide: string): Promise<boolean> {
  try {
    await Deno.stat(`${VENV}/ready`).catch(install);
    await run(`${VENV}/bin/python`, new URL("./large_groups.py", import.meta.url).pathname, source, again, wide);
    return true;
  } catch (error) {
    // deno-lint-ignore no-console -- a benchmark's output
    console.error(`without large row groups: ${(error as Error).message}`);
    return false;
  }
}

async function install(): Promise<void> {
  await run("python3", "-m", "venv", VENV);
  await run(`${VENV}/bin/python`, "-m", "pip", "install", "--quiet", ...PACKAGES);
  await Deno.writeTextFile(`${VENV}/ready`, "");
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr).trim().split("\n").at(-1)}`);
  return new TextDecoder().decode(stdout);
}
