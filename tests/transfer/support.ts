import { Buffer } from "node:buffer";
import { type QueryTest, queryTest, type QueryTestOptions } from "../query/support.ts";

/** What a test of a pull gets. */
export interface PullTest extends QueryTest {
  /** A folder of its own, removed after the test. */
  folder: string;
}

/** {@linkcode queryTest} with a folder. */
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

/** A stream that keeps what it gets. */
export function keeping(): { stream: WritableStream<Uint8Array>; text: () => string; state: () => string } {
  const chunks: Uint8Array[] = [];
  let state = "open";
  const stream = new WritableStream<Uint8Array>({
    write: (chunk) => void chunks.push(chunk),
    close: () => void (state = "closed"),
    abort: (reason) => void (state = `aborted: ${reason?.message}`),
  });
  return { stream, text: () => Buffer.concat(chunks).toString(), state: () => state };
}
