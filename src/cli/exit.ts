import { LakebaseError, redact } from "../errors.ts";
import { inShell } from "./shell_words.ts";

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
  // What a server says, or the values of a file that it repeats, is not ours to translate.
  const ours = (line: string) => (error as { code?: unknown }).code !== "QUERY_FAILED" || line.startsWith("HINT: ");
  const said = settingInShell(error, message).split("\n").map((line) => ours(line) ? inShell(line) : line).join("\n");
  const text = trace && error instanceof Error ? Deno.inspect(error) : `${code}${said}`;
  return `lakebase: ${redact(text)}\n`;
}

/** An option of `connect()` is an option of the shell's; which one it is, the error's own fields say. */
function settingInShell(error: unknown, message: string): string {
  if (!(error instanceof LakebaseError) || error.setting === undefined || error.origin !== "option") return message;
  const name = `--${error.setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  return message.replaceAll(`option "${error.setting}"`, `option ${name}`).replaceAll(
    `"${error.setting}" (`,
    `${name} (`,
  )
    .replaceAll("envFile: false", "--no-env-file");
}

/** Whether the reader of the output has left, said by Deno or by a pull; a connection may break in the same way. */
function isBrokenPipe(error: unknown): boolean {
  if (error instanceof LakebaseError) return error.code === "BAD_FILE" && (error.cause as Error)?.name === "BrokenPipe";
  return error instanceof Deno.errors.BrokenPipe;
}
