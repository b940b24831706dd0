import { badLoadOption } from "./options.ts";

/** A glob, split at its first wildcard. */
export interface Glob {
  /** The path before the first wildcard; empty for the current folder. */
  root: string;
  /** The remaining parts of the path. */
  parts: string[];
}

/** Whether a path has glob wildcards. Callers first look for a file with exactly that name. */
export function isGlob(path: string): boolean {
  return /[*?[{]/.test(path);
}

/** The most alternatives in braces: each pair in `{a,b}{a,b}...` doubles their number. */
const MOST_ALTERNATIVES = 1000;
/** The most characters of a glob, each of whose alternatives may be as long. */
const LONGEST = 100_000;

/**
 * Expands the braces of a glob, and splits each alternative at its first wildcard.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if the braces give more than 1,000 alternatives, or it has over 100,000 characters.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(splitGlob("data/{2024,2025}/*.csv"), [
 *   { root: "data/2024", parts: ["*.csv"] },
 *   { root: "data/2025", parts: ["*.csv"] },
 * ]);
 * ```
 */
export function splitGlob(glob: string): Glob[] {
  return alternatives(glob).map((text) => {
    const parts = text.split("/");
    const first = parts.findIndex((part) => /[*?[]/.test(part));
    const fixed = first === -1 ? parts.length - 1 : first;
    const root = parts.slice(0, fixed).join("/");
    const rest = parts.slice(fixed).filter((part) => part !== "" && part !== ".");
    return { root: root === "" && text.startsWith("/") ? "/" : root, parts: rest };
  });
}

function alternatives(glob: string): string[] {
  if (glob.length > LONGEST) {
    const [length, most] = [glob.length, LONGEST].map((size) => size.toLocaleString("en-US"));
    throw badLoadOption(`${glob.slice(0, 100)}... has ${length} characters; a glob has at most ${most}`);
  }
  let done: string[] = [];
  let open = [glob];
  while (open.length > 0) {
    const next: string[] = [];
    for (const text of open) {
      const braces = /\{([^{},]*,[^{}]*)\}/.exec(text);
      if (braces === null) done.push(text);
      else for (const one of braces[1]!.split(",")) next.push(text.replace(braces[0], () => one));
    }
    if (done.length + next.length > MOST_ALTERNATIVES) {
      throw badLoadOption(
        `${glob.slice(0, 100)} has more than ${MOST_ALTERNATIVES.toLocaleString("en-US")} alternatives in braces`,
      );
    }
    open = next;
  }
  done = [...new Set(done)];
  return done;
}

/**
 * Whether a name matches one part of a glob: `*` matches any characters, `?` matches one, and `[a-z]` or `[!a-z]` matches one
 * inside or outside a set. Backtracks only to the last `*`, so the time is at most the product of both lengths.
 */
export function matchesName(pattern: string, name: string): boolean {
  const tokens = tokensOf(pattern);
  const letters = [...name];
  let token = 0;
  let star = -1;
  let from = 0;
  for (let at = 0; at < letters.length;) {
    const wanted = tokens[token];
    if (wanted === "*") {
      star = token++;
      from = at;
    } else if (wanted?.(letters[at]!)) {
      token++;
      at++;
    } else if (star !== -1) {
      token = star + 1;
      at = ++from;
    } else return false;
  }
  while (tokens[token] === "*") token++;
  return token === tokens.length;
}

type Token = "*" | ((letter: string) => boolean);

function tokensOf(pattern: string): Token[] {
  const end = pattern.lastIndexOf("]") + 1; // behind it, each "[" would be searched to the end for its bracket
  const found = pattern.slice(0, end).match(/\[[!^]?\]?[^\]]*\]|[^]/gu) ?? [];
  return [...found, ...pattern.slice(end)].map((text): Token => {
    if (text === "*") return "*";
    if (text === "?") return () => true;
    return text.length > 1 && text.startsWith("[") ? oneOf(text.slice(1, -1)) : (letter) => letter === text;
  });
}

function oneOf(set: string): (letter: string) => boolean {
  const not = /^[!^]/.test(set);
  const members = [...(not ? set.slice(1) : set)];
  const ranges: [from: string, to: string][] = [];
  for (let at = 0; at < members.length; at++) {
    const isRange = members[at + 1] === "-" && members[at + 2] !== undefined;
    ranges.push([members[at]!, members[isRange ? at + 2 : at]!]);
    if (isRange) at += 2;
  }
  return (letter) => not !== ranges.some(([from, to]) => from <= letter && letter <= to);
}
