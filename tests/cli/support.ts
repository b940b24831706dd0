import type { LocalLakebase } from "../../src/local/mod.ts";
import { LineServer } from "../support/line_server.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { loadingFile, sharedGateway } from "../support/shared_servers.ts";
import { LOCKED } from "../support/files.ts";

const CLI = decodeURIComponent(new URL("../../src/cli/main.ts", import.meta.url).pathname);

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** What stands on standard input. */
  stdin?: string;
}

/** How the program ended, and what it has written. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * The words that run the program, without a check of types, as an installed one runs; quiet, since Deno says on standard
 * error what it downloads for the first time.
 */
export const PROGRAM: readonly string[] = [
  ...[Deno.execPath(), "run", "--quiet", "-A", "--no-check", ...LOCKED, CLI],
];

/** What the environment of the tests may have, and a run has not. */
const PLAIN = { NO_COLOR: "", LAKEBASE_DEBUG: "" };

/** The program, not started yet. */
export function command(words: readonly string[], { env = {}, cwd, stdin }: RunOptions = {}): Deno.Command {
  return new Deno.Command(PROGRAM[0]!, {
    args: [...PROGRAM.slice(1), ...words],
    env: { ...PLAIN, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs the program to its end, in a process of its own. */
export async function ownProcess(words: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = command(words, options).spawn();
  const output = child.output();
  if (options.stdin !== undefined) await new Blob([options.stdin]).stream().pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await output;
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs the program to its end, in the process that stays for all tests of this one; see `resident_program.ts`. */
export async function lakebase(words: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return await resident!.ask({ words, options: { ...options, env: { ...PLAIN, ...options.env } } });
}

let resident: LineServer | undefined;

// Before all tests, so that the process is no test's own.
Deno.test.beforeAll(() => {
  const script = decodeURIComponent(new URL("./resident_program.ts", import.meta.url).pathname);
  const args = [...PROGRAM.slice(1, -1), script];
  resident = new LineServer("the resident program", PROGRAM[0]!, { args, env: PLAIN });
});
Deno.test.afterAll(async () => {
  await resident!.close();
});

/** What a test of a command gets. */
export interface CliTest {
  local: LocalLakebase;
  /** A folder of its own, which the program runs in. */
  folder: string;
  /** Runs the program to its end, on the local Lakebase. */
  run: (words: readonly string[], options?: RunOptions) => Promise<Outcome>;
  /** Does the same in a process of its own. */
  runAlone: (words: readonly string[], options?: RunOptions) => Promise<Outcome>;
  /** Starts it. */
  spawn: (words: readonly string[]) => Deno.ChildProcess;
}

/** A test of the real program on a PostgreSQL behind the gateway; the server lives in this process and outlasts a test. */
export function cliTest(name: string, run: (test: CliTest) => Promise<void>): void {
  const file = loadingFile();
  Deno.test({
    ...requires(name, postgresMissing),
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
          run: (words, options) => lakebase(words, at(options)),
          runAlone: (words, options) => ownProcess(words, at(options)),
          spawn: (words) => command(words, at()).spawn(),
        });
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
