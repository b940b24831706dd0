import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Lakebase } from "../../mod.ts";
import { type QueryTest, queryTest, type QueryTestOptions } from "./queries.ts";
import { LOCKED, ROOT } from "./files.ts";

/** The parts of a test of a pull. */
export interface PullTest extends QueryTest {
  /** A folder for this test, which is removed after it. */
  folder: string;
}

/** Like {@linkcode queryTest}, with a folder. */
export function pullTest(name: string, run: (test: PullTest) => Promise<void>, options: QueryTestOptions = {}): void {
  queryTest(name, async (test) => {
    const folder = await Deno.makeTempDir({ prefix: "lakebase-pull-" });
    try {
      await run({ ...test, folder });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }, options);
}

/** The names in a folder, in order. */
export function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

/** A stream that records its input. */
export function recordingStream(): { stream: WritableStream<Uint8Array>; text: () => string; state: () => string } {
  const chunks: Uint8Array[] = [];
  let state = "open";
  const stream = new WritableStream<Uint8Array>({
    write: (chunk) => void chunks.push(chunk),
    close: () => void (state = "closed"),
    abort: (reason) => void (state = `aborted: ${reason?.message}`),
  });
  return { stream, text: () => Buffer.concat(chunks).toString(), state: () => state };
}

/** Runs a script in a separate process, with this module's names. */
export function script(code: string, env: Record<string, string>): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", "--no-check", ...LOCKED, code],
    cwd: ROOT,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** The content of the file that {@linkcode failedPull} must not replace. */
export const PREVIOUS_CONTENT = "the file of yesterday\n";

/**
 * Runs a pull that fails half-way over an existing file. The file must stay, nothing else may remain, and the
 * connection must work.
 */
export async function failedPull(
  db: Lakebase,
  folder: string,
  pull: (path: string) => Promise<unknown>,
): Promise<unknown> {
  const path = `${folder}/t.csv`;
  await Deno.writeTextFile(path, PREVIOUS_CONTENT);
  const error = await pull(path).then(() => assert.fail("the pull did not fail"), (error) => error);
  assert.equal(await Deno.readTextFile(path), PREVIOUS_CONTENT);
  assert.deepEqual(namesIn(folder), ["t.csv"]);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
  return error;
}
