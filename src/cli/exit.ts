import { LakebaseError, redact } from "../errors.ts";

/** Exit codes that scripts can tell apart. A signal that stopped it adds its number to 128: 130 for Ctrl-C, 143 for SIGTERM. */
export const EXIT = { ok: 0, failure: 1, usage: 2, brokenPipe: 141 } as const;

/** The exit code for an error. */
export function exitCode(error: unknown): number {
  if (isBrokenPipe(error)) return EXIT.brokenPipe;
  const wrongUse = error instanceof LakebaseError && (error.code === "BAD_SETTING" || error.code === "BAD_PARAMETER");
  return wrongUse ? EXIT.usage : EXIT.failure;
}

/**
 * What is printed of an error; empty where the reader of the output has left, as `head` does, which nobody needs to be told.
 *
 * @param trace Also where it was thrown.
 */
export function errorText(error: unknown, trace: boolean): string {
  if (isBrokenPipe(error)) return "";
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof LakebaseError ? `[${error.code}] ` : "";
  const text = trace && error instanceof Error ? Deno.inspect(error) : `${code}${asInShell(message)}`;
  return `lakebase: ${redact(text)}\n`;
}

/** `{ format: "csv" }`, as a program says it, is `--format csv` here. */
function asInShell(message: string): string {
  return message.replaceAll("connect({ local: true })", "--local").replace(
    /\{ ([a-z]+): (?:"(\w+)"|(\d+)|true) \}/g,
    (_, name, word = "", number = "") => `--${name} ${word}${number}`.trimEnd(),
  );
}

/** Whether the reader of the output has left, said by Deno or by a pull; a connection may break in the same way. */
function isBrokenPipe(error: unknown): boolean {
  if (error instanceof LakebaseError) return error.code === "BAD_FILE" && (error.cause as Error)?.name === "BrokenPipe";
  return error instanceof Deno.errors.BrokenPipe;
}
