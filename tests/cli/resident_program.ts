import { main } from "../../src/cli/main.ts";
import type { Outcome, RunOptions } from "./support.ts";

// Runs a command of the program for each line of standard input, because starting Deno and loading the program takes
// longer than most commands. Each run has the environment, the folder and the streams that a separate process would have.

const environment = Deno.env.toObject();
const folder = Deno.cwd();
const requests = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
const answer = Deno.stdout.write.bind(Deno.stdout);

/** Collects the output to one of the standard streams in a list. */
function collect(stream: typeof Deno.stdout | typeof Deno.stderr, chunks: Uint8Array[]): void {
  const writeSync = (bytes: Uint8Array) => {
    chunks.push(bytes.slice());
    return bytes.length;
  };
  Object.assign(stream, {
    isTerminal: () => false,
    writeSync,
    write: (bytes: Uint8Array) => Promise.resolve(writeSync(bytes)),
  });
}

function setEnvironment(variables: Record<string, string>): void {
  for (const name of Object.keys(Deno.env.toObject())) if (!(name in variables)) Deno.env.delete(name);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
}

async function run(args: readonly string[], { env = {}, cwd = folder, stdin = "" }: RunOptions): Promise<Outcome> {
  const [out, err]: [Uint8Array[], Uint8Array[]] = [[], []];
  collect(Deno.stdout, out);
  collect(Deno.stderr, err);
  Object.defineProperty(Deno.stdin, "readable", { value: new Blob([stdin]).stream(), configurable: true });
  Object.assign(Deno.stdin, { isTerminal: () => false });
  setEnvironment({ ...environment, ...env });
  Deno.chdir(cwd);
  const code = await main(args);
  Deno.chdir(folder);
  return { code, stdout: await new Blob(out as BlobPart[]).text(), stderr: await new Blob(err as BlobPart[]).text() };
}

let line = "";
for await (const text of requests) {
  line += text;
  if (!line.endsWith("\n")) continue;
  const { args, options } = JSON.parse(line);
  line = "";
  const outcome = await run(args, options).then(
    (answer) => ({ answer }),
    (error) => ({ failure: String(error?.stack) }),
  );
  const bytes = new TextEncoder().encode(`${JSON.stringify(outcome)}\n`);
  for (let at = 0; at < bytes.length;) at += await answer(bytes.subarray(at));
}
