import { LakebaseError } from "../errors.ts";
import { fold, LONGEST_NAME } from "./name.ts";

/** What a pattern of `tables()` asks for, as lists for `LIKE ANY`; `null` asks for any. */
export interface Pattern {
  /** The schema. */
  schema: string[] | null;
  /** The name. */
  name: string[] | null;
}

/**
 * Reads a pattern as psql's `\dt` takes it.
 *
 * @param pattern `name` or `schema.name`, where `*` is any text and `?` any character, except within double quotes.
 * @throws {LakebaseError} `BAD_PARAMETER` for more than two parts.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(parsePattern("app.Trip_*"), { schema: ["app"], name: ["Trip\\_%", "trip\\_%"] });
 * ```
 */
export function parsePattern(pattern: string): Pattern {
  if (typeof pattern !== "string" || pattern.length > LONGEST_NAME) throw badPattern(pattern);
  const parts = [new Part()];
  for (const [token, quoted] of pattern.matchAll(/"((?:[^"]|"")*)"?|[.*?]|[^".*?]+/g)) {
    const part = parts.at(-1)!;
    if (quoted !== undefined) part.add(escapeLike(quoted.replaceAll('""', '"')), false);
    else if (token === ".") parts.push(new Part());
    else if (token === "*") part.add("%", false);
    else if (token === "?") part.add("_", false);
    else part.add(escapeLike(token), true);
  }
  if (parts.length > 2 || pattern.includes("\0")) throw badPattern(pattern);
  const [name, schema] = parts.reverse();
  return { schema: schema?.likes() ?? null, name: name!.likes() };
}

/** One part of a pattern, as it is written and as SQL would fold it. */
class Part {
  #written = "";
  #folded = "";

  add(text: string, folds: boolean): void {
    this.#written += text;
    this.#folded += folds ? fold(text) : text;
  }

  likes(): string[] | null {
    if (/^%*$/.test(this.#written)) return null;
    return [...new Set([this.#written, this.#folded])];
  }
}

function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&");
}

function badPattern(pattern: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot list tables: the pattern is ${
      JSON.stringify(pattern)
    }; it must be like trips, trip*, public.trips or app.*`,
  );
}
