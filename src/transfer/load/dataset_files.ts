import { closest } from "../../core/closest.ts";
import type { LakebaseError } from "../../core/errors.ts";
import { isVolumePath, type StoredEntry } from "../../core/file_store.ts";
import { withoutEndSlashes } from "../../core/text.ts";
import type { ListedEntry, Readable } from "../stores.ts";
import { badFile } from "./bytes.ts";
import { badLoadOption } from "./options.ts";

/** A file of a dataset. */
export interface DataFile {
  /** Its path, which begins as the caller wrote the folder or the glob. */
  path: string;
  /** Its size in bytes. */
  size: number;
  /** When it was last written, in milliseconds since 1970; 0 if the system does not say. */
  written: number;
}

/** The most names that an error lists. */
const MOST_NAMED = 10;

/**
 * Finds the files of a folder or a glob, or a single file.
 *
 * Names that begin with `_` or `.`, such as `_SUCCESS` and `.part-0.crc`, are skipped unless the glob's part begins with the
 * same character.
 *
 * @param files The store that the files are in.
 * @returns The files, sorted by path.
 * @throws {LakebaseError} `BAD_FILE` for a path that does not exist or can't be read, a folder without files, a glob that
 * matches nothing, and a Delta table, whose folder still holds deleted rows.
 */
export async function findFiles(place: string, files: Readable, signal?: AbortSignal): Promise<DataFile[]> {
  return await new Search(files, signal).find(place);
}

function byPath(a: DataFile, b: DataFile): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** A search that reads nothing twice. */
class Search {
  readonly #files: Readable;
  readonly #signal: AbortSignal | undefined;
  /** What listings have shown, by path. */
  readonly #seen = new Map<string, Info>();
  readonly #found: DataFile[] = [];

  constructor(files: Readable, signal: AbortSignal | undefined) {
    this.#files = files;
    this.#signal = signal;
  }

  async find(place: string): Promise<DataFile[]> {
    const isThere = await this.#lookAt(place) !== undefined;
    if (!isThere && !isGlob(place)) throw badFile(`Cannot load ${place}: ${await this.#missing(place)}`);
    for (const path of isThere ? [place] : await this.#expand(place)) {
      const info = await this.#lookAt(path);
      if (info?.isFolder) await this.#walk(path, []);
      else if (info !== undefined) this.#add(path, info);
    }
    if (this.#found.length === 0) throw badFile(`Cannot load ${place}: ${await this.#nothing(place, isThere)}`);
    return this.#found.sort(byPath);
  }

  #add(path: string, { size, written }: Info): void {
    this.#found.push({ path, size, written });
  }

  async #lookAt(path: string): Promise<Info | undefined> {
    this.#signal?.throwIfAborted();
    return this.#seen.get(path) ?? await this.#files.stat(path);
  }

  /** @param above The real paths of the parent folders: following a link to one of them would never end. */
  async #walk(folder: string, above: readonly string[]): Promise<void> {
    const real = await this.#files.realPath?.(folder) ?? folder;
    if (above.includes(real)) throw badFile(`Cannot load ${folder}: it is a link to a folder that it is in`);
    for (const { name, isFolder } of await this.#entries(folder)) {
      if (name === "_delta_log" && isFolder) throw deltaTable(folder);
      if (isHidden(name)) continue;
      const path = join(folder, name);
      const info = await this.#lookAt(path);
      if (info === undefined) {
        throw badFile(`Cannot load ${path}: it is a link to something that does not exist, or that was just removed`);
      }
      if (info.isFolder) await this.#walk(path, [...above, real]);
      else this.#add(path, info);
    }
  }

  async #entries(folder: string): Promise<ListedEntry[]> {
    const entries = await this.#files.list(folder === "" ? "." : folder);
    for (const { name, isFolder, size, written = 0 } of entries) {
      if (size !== undefined) this.#seen.set(join(folder, name), { isFolder, size, written });
    }
    return entries;
  }

  /** The files and folders that a glob matches. Matches one part of the path at a time, to read only matching folders. */
  async #expand(glob: string): Promise<Set<string>> {
    const all = new Set<string>();
    for (const { root, parts } of splitGlob(glob)) {
      let places = [root];
      for (const [index, part] of parts.entries()) {
        const last = index === parts.length - 1;
        const next = await Promise.all(places.map((place) => this.#step(place, part, last)));
        places = [...new Set(next.flat())];
      }
      for (const place of places) all.add(place);
    }
    return all;
  }

  async #step(place: string, part: string, last: boolean): Promise<string[]> {
    if (part === "**") return [...last ? [] : [place], ...await this.#below(place, last)];
    if (!isGlob(part)) return await this.#lookAt(join(place, part)) === undefined ? [] : [join(place, part)];
    return (await this.#listed(place)).filter((name) => matches(part, name)).map((name) => join(place, name));
  }

  /** All folders below one; with `files`, the files and folders directly in it. */
  async #below(place: string, files: boolean): Promise<string[]> {
    const found: string[] = [];
    for (const { name, isFolder } of await this.#listedEntries(place)) {
      if (isHidden(name)) continue;
      const path = join(place, name);
      if (files || isFolder) found.push(path);
      if (!isFolder || files) continue; // a matched folder is read whole
      for (const below of await this.#below(path, files)) found.push(below);
    }
    return found;
  }

  async #listed(folder: string): Promise<string[]> {
    return (await this.#listedEntries(folder)).map(({ name }) => name);
  }

  /** The entries of a folder. It is empty for a file, because a glob may match a file where it needs a folder. */
  async #listedEntries(folder: string): Promise<ListedEntry[]> {
    const info = await this.#lookAt(folder === "" ? "." : folder);
    return info?.isFolder ? await this.#entries(folder) : [];
  }

  /** Says why a folder or a glob has no files, and lists the names that exist. */
  async #nothing(place: string, isFolder: boolean): Promise<string> {
    if (isFolder) {
      const names = await this.#listed(place);
      if (names.length === 0) return "the folder is empty";
      return `the folder has no data files, only ${listNames(names)}; names that begin with _ or . are none`;
    }
    for (const { root } of splitGlob(place)) {
      if (root !== "" && await this.#lookAt(root) === undefined) {
        return `it matches nothing: ${await this.#missing(root)}`;
      }
      const names = (await this.#listed(root)).sort();
      const there = names.length === 0 ? "which is empty" : `which has ${listNames(names)}`;
      return `it matches no file in ${root === "" ? "this folder" : root}, ${there}`;
    }
    return "it matches nothing";
  }

  /** Says that a path does not exist, and what is near where that may be read. */
  async #missing(path: string): Promise<string> {
    try {
      return await this.#firstMissing(path);
    } catch {
      this.#signal?.throwIfAborted();
      return `there is no such ${path.endsWith("/") ? "folder" : "file"}`;
    }
  }

  /** Names the first missing part of a path, and the existing name closest to it. */
  async #firstMissing(path: string): Promise<string> {
    const parts = withoutEndSlashes(path).split("/");
    // The folders above a Volume can't be listed.
    for (
      let length = isVolumePath(path) && !this.#files.here ? VOLUME_PARTS + 1 : 1;
      length <= parts.length;
      length++
    ) {
      const start = parts.slice(0, length).join("/");
      if (start === "" || await this.#lookAt(start) !== undefined) continue;
      const folder = parts.slice(0, length - 1).join("/");
      const names = await this.#listed(parts.length > 1 && folder === "" && length > 1 ? "/" : folder);
      const near = closest(parts[length - 1]!, names);
      const what = length < parts.length || path.endsWith("/") ? "folder" : "file";
      const hint = near === undefined
        ? ""
        : `; did you mean ${JSON.stringify([...parts.slice(0, length - 1), near, ...parts.slice(length)].join("/"))}?`;
      return `there is no such ${what}${start === path ? "" : ` as ${start}`}${hint}`;
    }
    return path.endsWith("/") ? "it is a file; a name that ends in / is that of a folder" : "there is no such file";
  }
}

/** Facts about a file or a folder. */
type Info = Omit<StoredEntry, "name">;

/** The number of parts of `/Volumes/catalog/schema/volume`, split at each slash. */
const VOLUME_PARTS = 5;

/** The rule of Hive and Spark. The name of a partition may begin with `_`. */
function isHidden(name: string): boolean {
  return name.startsWith(".") || name.startsWith("_") && !name.includes("=");
}

function deltaTable(folder: string): LakebaseError {
  return badFile(
    `Cannot load ${folder}: it is a Delta table, whose folder keeps files with rows that were deleted or changed since; ` +
      "read it with what knows Delta, and load what that writes",
  );
}

function join(folder: string, name: string): string {
  return folder === "" || folder.endsWith("/") ? folder + name : `${folder}/${name}`;
}

function matches(part: string, name: string): boolean {
  return (!isHidden(name) || part[0] === name[0]) && matchesName(part, name);
}

function listNames(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).join(", ");
  return names.length > MOST_NAMED ? `${shown}, and ${names.length - MOST_NAMED} more` : shown;
}

/** A glob, split at its first wildcard. */
interface Glob {
  /** The path before the first wildcard; empty for the current folder. */
  root: string;
  /** The remaining parts of the path. */
  parts: string[];
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

/** Whether a path has glob wildcards. Callers first look for a file with exactly that name. */
function isGlob(path: string): boolean {
  return /[*?[{]/.test(path);
}
