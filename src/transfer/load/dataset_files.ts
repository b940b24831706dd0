import { closest } from "../../core/closest.ts";
import type { LakebaseError } from "../../core/errors.ts";
import { isVolumePath, type StoredEntry } from "../../core/file_store.ts";
import { withoutEndSlashes } from "../../core/text.ts";
import type { ListedEntry, ReadableFiles } from "../stores.ts";
import { badFile } from "./bytes.ts";
import { badLoadOption } from "./options.ts";

/** A file of a dataset. */
export interface DataFile {
  /** Its path, which begins as the caller wrote the folder or the glob. */
  path: string;
  /** Its size in bytes. */
  size: number;
  /** When it was last written, in milliseconds since 1970; 0 if unknown. */
  written: number;
}

/** The most names that an error lists. */
const MAX_LISTED = 10;

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
export async function findFiles(path: string, files: ReadableFiles, signal?: AbortSignal): Promise<DataFile[]> {
  return await new Search(files, signal).find(path);
}

function byPath(a: DataFile, b: DataFile): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** A search for files. It looks at no path again that a listing has shown. */
class Search {
  readonly #files: ReadableFiles;
  readonly #signal: AbortSignal | undefined;
  /** The files and folders that listings have shown, by path. */
  readonly #listedInfo = new Map<string, Info>();
  readonly #found: DataFile[] = [];

  constructor(files: ReadableFiles, signal: AbortSignal | undefined) {
    this.#files = files;
    this.#signal = signal;
  }

  async find(pathOrGlob: string): Promise<DataFile[]> {
    const exists = await this.#info(pathOrGlob) !== undefined;
    if (!exists && !isGlob(pathOrGlob)) {
      throw badFile(`Cannot load ${pathOrGlob}: ${await this.#whyMissing(pathOrGlob)}`);
    }
    for (const path of exists ? [pathOrGlob] : await this.#expand(pathOrGlob)) {
      const info = await this.#info(path);
      if (info?.isFolder) await this.#walk(path, []);
      else if (info !== undefined) this.#add(path, info);
    }
    if (this.#found.length === 0) {
      throw badFile(`Cannot load ${pathOrGlob}: ${await this.#whyNoFiles(pathOrGlob, exists)}`);
    }
    return this.#found.sort(byPath);
  }

  #add(path: string, { size, written }: Info): void {
    this.#found.push({ path, size, written });
  }

  async #info(path: string): Promise<Info | undefined> {
    this.#signal?.throwIfAborted();
    return this.#listedInfo.get(path) ?? await this.#files.stat(path);
  }

  /** @param parents The real paths of the parent folders: following a link to one of them would never end. */
  async #walk(folder: string, parents: readonly string[]): Promise<void> {
    const real = await this.#files.realPath?.(folder) ?? folder;
    if (parents.includes(real)) throw badFile(`Cannot load ${folder}: it is a link to a folder that it is in`);
    for (const { name, isFolder } of await this.#entries(folder)) {
      if (name === "_delta_log" && isFolder) throw deltaTable(folder);
      if (isHidden(name)) continue;
      const path = join(folder, name);
      const info = await this.#info(path);
      if (info === undefined) {
        throw badFile(`Cannot load ${path}: it is a link to something that does not exist, or that was just removed`);
      }
      if (info.isFolder) await this.#walk(path, [...parents, real]);
      else this.#add(path, info);
    }
  }

  async #entries(folder: string): Promise<ListedEntry[]> {
    const entries = await this.#files.list(folder === "" ? "." : folder);
    for (const { name, isFolder, size, written = 0 } of entries) {
      if (size !== undefined) this.#listedInfo.set(join(folder, name), { isFolder, size, written });
    }
    return entries;
  }

  /** The files and folders that a glob matches. It is matched part by part, so that only matching folders are listed. */
  async #expand(glob: string): Promise<Set<string>> {
    const found = new Set<string>();
    for (const { root, parts } of splitGlob(glob)) {
      let paths = [root];
      for (const [index, part] of parts.entries()) {
        const isLast = index === parts.length - 1;
        const matching = await Promise.all(paths.map((path) => this.#matching(path, part, isLast)));
        paths = [...new Set(matching.flat())];
      }
      for (const path of paths) found.add(path);
    }
    return found;
  }

  /** The paths in a folder that one part of a glob matches. */
  async #matching(folder: string, part: string, isLast: boolean): Promise<string[]> {
    if (part === "**") return [...isLast ? [] : [folder], ...await this.#below(folder, isLast)];
    if (!isGlob(part)) return await this.#info(join(folder, part)) === undefined ? [] : [join(folder, part)];
    return (await this.#names(folder)).filter((name) => matches(part, name)).map((name) => join(folder, name));
  }

  /** All folders below a folder; with `files`, the files and folders directly in it. */
  async #below(folder: string, files: boolean): Promise<string[]> {
    const found: string[] = [];
    for (const { name, isFolder } of await this.#listedEntries(folder)) {
      if (isHidden(name)) continue;
      const path = join(folder, name);
      if (files || isFolder) found.push(path);
      if (!isFolder || files) continue; // all files of a matched folder are loaded anyway
      for (const deeper of await this.#below(path, files)) found.push(deeper);
    }
    return found;
  }

  async #names(folder: string): Promise<string[]> {
    return (await this.#listedEntries(folder)).map(({ name }) => name);
  }

  /** The entries of a folder; none for a file, which a glob may match where it needs a folder. */
  async #listedEntries(folder: string): Promise<ListedEntry[]> {
    const info = await this.#info(folder === "" ? "." : folder);
    return info?.isFolder ? await this.#entries(folder) : [];
  }

  /** Why a folder or a glob has no files, with the names that exist instead. */
  async #whyNoFiles(pathOrGlob: string, isFolder: boolean): Promise<string> {
    if (isFolder) {
      const names = await this.#names(pathOrGlob);
      if (names.length === 0) return "the folder is empty";
      return `the folder has no data files, only ${namesText(names)}; names that begin with _ or . are not data`;
    }
    for (const { root } of splitGlob(pathOrGlob)) {
      if (root !== "" && await this.#info(root) === undefined) {
        return `it matches nothing: ${await this.#whyMissing(root)}`;
      }
      const names = (await this.#names(root)).sort();
      const there = names.length === 0 ? "which is empty" : `which has ${namesText(names)}`;
      return `it matches no file in ${root === "" ? "this folder" : root}, ${there}`;
    }
    return "it matches nothing";
  }

  /** Says that a path does not exist. Suggests a similar name, if the folder may be listed. */
  async #whyMissing(path: string): Promise<string> {
    try {
      return await this.#firstMissing(path);
    } catch {
      this.#signal?.throwIfAborted();
      return `there is no such ${path.endsWith("/") ? "folder" : "file"}`;
    }
  }

  /** Names the first part of a path that does not exist, and the most similar name in its folder. */
  async #firstMissing(path: string): Promise<string> {
    const parts = withoutEndSlashes(path).split("/");
    // The folders above a Volume can't be listed.
    const firstLength = isVolumePath(path) && !this.#files.isLocal ? VOLUME_PARTS + 1 : 1;
    for (let length = firstLength; length <= parts.length; length++) {
      const start = parts.slice(0, length).join("/");
      if (start === "" || await this.#info(start) !== undefined) continue;
      const folder = parts.slice(0, length - 1).join("/");
      const names = await this.#names(parts.length > 1 && folder === "" && length > 1 ? "/" : folder);
      const similar = closest(parts[length - 1]!, names);
      const what = length < parts.length || path.endsWith("/") ? "folder" : "file";
      const corrected = similar === undefined ? undefined : parts.with(length - 1, similar).join("/");
      const hint = corrected === undefined ? "" : `; did you mean ${JSON.stringify(corrected)}?`;
      return `there is no such ${what}${start === path ? "" : ` as ${start}`}${hint}`;
    }
    return path.endsWith("/") ? "it is a file, but a path that ends in / must be a folder" : "there is no such file";
  }
}

/** Facts about a file or a folder. */
type Info = Omit<StoredEntry, "name">;

/** The number of parts of `/Volumes/catalog/schema/volume`, split at each slash. */
const VOLUME_PARTS = 5;

/** Whether Hive and Spark skip a name. The name of a partition may begin with `_`. */
function isHidden(name: string): boolean {
  return name.startsWith(".") || name.startsWith("_") && !name.includes("=");
}

function deltaTable(folder: string): LakebaseError {
  return badFile(
    `Cannot load ${folder}: it is a Delta table, whose folder keeps files with rows that were deleted or changed since; ` +
      "read it with a tool for Delta tables, and load the files that the tool writes",
  );
}

function join(folder: string, name: string): string {
  return folder === "" || folder.endsWith("/") ? folder + name : `${folder}/${name}`;
}

function matches(part: string, name: string): boolean {
  return (!isHidden(name) || part[0] === name[0]) && matchesName(part, name);
}

function namesText(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED).join(", ");
  return names.length > MAX_LISTED ? `${shown}, and ${names.length - MAX_LISTED} more` : shown;
}

/** A glob, split at its first wildcard. */
interface Glob {
  /** The path before the first wildcard; empty for the current folder. */
  root: string;
  /** The remaining parts of the path. */
  parts: string[];
}

/** The most alternatives in braces: each pair in `{a,b}{a,b}...` doubles their number. */
const MAX_ALTERNATIVES = 1000;
/** The most characters of a glob. Each of its alternatives may be as long. */
const MAX_GLOB_CHARACTERS = 100_000;

/**
 * Expands the braces of a glob, and splits each alternative at its first wildcard.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a glob with more than 1,000 alternatives or 100,000 characters.
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
  if (glob.length > MAX_GLOB_CHARACTERS) {
    const [length, most] = [glob.length, MAX_GLOB_CHARACTERS].map((size) => size.toLocaleString("en-US"));
    throw badLoadOption(`${glob.slice(0, 100)}... has ${length} characters; the limit is ${most}`);
  }
  const expanded = new Set<string>();
  let open = [glob];
  while (open.length > 0) {
    const next: string[] = [];
    for (const text of open) {
      const braces = /\{([^{},]*,[^{}]*)\}/.exec(text);
      if (braces === null) expanded.add(text);
      else for (const choice of braces[1]!.split(",")) next.push(text.replace(braces[0], () => choice));
    }
    if (expanded.size + next.length > MAX_ALTERNATIVES) {
      throw badLoadOption(
        `${glob.slice(0, 100)} has more than ${MAX_ALTERNATIVES.toLocaleString("en-US")} alternatives in braces`,
      );
    }
    open = next;
  }
  return [...expanded];
}

/**
 * Whether a name matches one part of a glob: `*` matches any characters, `?` matches one, and `[a-z]` or `[!a-z]` matches one
 * inside or outside a set. Backtracks only to the last `*`, so the time is at most the product of both lengths.
 */
export function matchesName(pattern: string, name: string): boolean {
  const parts = partsOf(pattern);
  const letters = [...name];
  let part = 0;
  let star = -1;
  let from = 0;
  for (let at = 0; at < letters.length;) {
    const expected = parts[part];
    if (expected === "*") {
      star = part++;
      from = at;
    } else if (expected?.(letters[at]!)) {
      part++;
      at++;
    } else if (star !== -1) {
      part = star + 1;
      at = ++from;
    } else return false;
  }
  while (parts[part] === "*") part++;
  return part === parts.length;
}

type GlobPart = "*" | ((letter: string) => boolean);

function partsOf(pattern: string): GlobPart[] {
  const end = pattern.lastIndexOf("]") + 1; // after the last "]", each "[" would make a search to the end
  const texts = pattern.slice(0, end).match(/\[[!^]?\]?[^\]]*\]|[^]/gu) ?? [];
  return [...texts, ...pattern.slice(end)].map((text): GlobPart => {
    if (text === "*") return "*";
    if (text === "?") return () => true;
    return text.length > 1 && text.startsWith("[") ? oneOf(text.slice(1, -1)) : (letter) => letter === text;
  });
}

function oneOf(set: string): (letter: string) => boolean {
  const isNegated = /^[!^]/.test(set);
  const members = [...(isNegated ? set.slice(1) : set)];
  const ranges: [from: string, to: string][] = [];
  for (let at = 0; at < members.length; at++) {
    const isRange = members[at + 1] === "-" && members[at + 2] !== undefined;
    ranges.push([members[at]!, members[isRange ? at + 2 : at]!]);
    if (isRange) at += 2;
  }
  return (letter) => isNegated !== ranges.some(([from, to]) => from <= letter && letter <= to);
}

/** Whether a path has glob wildcards. Callers first look for a file with exactly that name. */
function isGlob(path: string): boolean {
  return /[*?[{]/.test(path);
}
