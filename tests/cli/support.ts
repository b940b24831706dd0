import type { LocalLakebase } from "../../src/local/mod.ts";
import { LineServer } from "../support/line_server.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { type Missing, requires } from "../support/requirements.ts";
import { loadingFile, sharedGateway } from "../support/shared_servers.ts";
import { LOCKED } from "../support/files.ts";

const CLI = decodeURIComponent(new URL("../../src/cli/main.ts", import.meta.url).pathname);

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** The content of standard input. */
  stdin?: string;
}

/** The end of the program, and its output. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * The arguments that run the program without a type check, as an installed program runs. With `--quiet`, because Deno
 * otherwise prints on standard error what it downloads for the first time.
 */
export const PROGRAM: readonly string[] = [
  ...[Deno.execPath(), "run", "--quiet", "-A", "--no-check", ...LOCKED, CLI],
];

/** Clears the variables that the environment of the tests may have, and that a run must not have. */
const CLEARED = { NO_COLOR: "", LAKEBASE_DEBUG: "" };

/** The program before it is started. */
export function command(args: readonly string[], { env = {}, cwd, stdin }: RunOptions = {}): Deno.Command {
  return new Deno.Command(PROGRAM[0]!, {
    args: [...PROGRAM.slice(1), ...args],
    env: { ...CLEARED, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs the program to its end in a separate process. */
export async function ownProcess(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = command(args, options).spawn();
  const output = child.output();
  if (options.stdin !== undefined) await new Blob([options.stdin]).stream().pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await output;
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs the program to its end, in one process for all tests of this process; see `resident_program.ts`. */
export async function lakebase(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return await resident!.ask({ args, options: { ...options, env: { ...CLEARED, ...options.env } } });
}

let resident: LineServer | undefined;

// Before all tests, so that the process does not belong to a test.
Deno.test.beforeAll(() => {
  const script = decodeURIComponent(new URL("./resident_program.ts", import.meta.url).pathname);
  const args = [...PROGRAM.slice(1, -1), script];
  resident = new LineServer("the resident program", PROGRAM[0]!, { args, env: CLEARED });
});
Deno.test.afterAll(async () => {
  await resident!.close();
});

/** The parts of a test of a command. */
export interface CliTest {
  local: LocalLakebase;
  /** A separate folder, in which the program runs. */
  folder: string;
  /** Runs the program to its end on the local Lakebase. */
  run: (args: readonly string[], options?: RunOptions) => Promise<Outcome>;
  /** Does the same in a separate process. */
  runAlone: (args: readonly string[], options?: RunOptions) => Promise<Outcome>;
  /** Starts the program. */
  spawn: (args: readonly string[]) => Deno.ChildProcess;
}

/** A test of the real program on a PostgreSQL behind the gateway. The server runs in this process and outlives a test. */
export function cliTest(
  name: string,
  run: (test: CliTest) => Promise<void>,
  ...missing: Missing[]
): void {
  const file = loadingFile();
  Deno.test({
    ...requires(name, postgresMissing, ...missing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const server = await sharedGateway({}, CLUSTER, file);
      server.faults.reset();
      const folder = await Deno.makeTempDir({ prefix: "lakebase-cli-" });
      try {
        const at = (options: RunOptions = {}) => ({ cwd: folder, ...options, env: { ...server.env, ...options.env } });
        await run({
          local: server,
          folder,
          run: (args, options) => lakebase(args, at(options)),
          runAlone: (args, options) => ownProcess(args, at(options)),
          spawn: (args) => command(args, at()).spawn(),
        });
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
