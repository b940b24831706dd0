import { sqlTokens } from "../core/sql_text.ts";
import { Fragment, Identifier } from "../sql/fragment.ts";
import { used } from "../sql/never_run.ts";
import { badParameter, encodeParameter } from "./parameter.ts";

/** A statement as the Statement Execution API takes it. */
export interface WarehouseStatement {
  /** SQL with `:p1`, `:p2`, ... */
  text: string;
  /** The values of the parameters, with their types. */
  parameters: readonly { name: string; type: string; value: string }[];
}

/** The longest statement that the API takes, in bytes. */
const LONGEST = 16 * 1024 * 1024;

/** Matches the start of a text that would continue the word before it: the name of a parameter, or NULL. */
const WORD = /^[\p{L}\d_]/u;

/**
 * Joins a fragment and the fragments inside it into one statement for a SQL warehouse.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that a warehouse takes no parameter for (with its position), a fragment that
 * contains itself, or a statement of more than 16 MiB.
 */
export function compileForWarehouse(fragment: Fragment): WarehouseStatement {
  used(fragment);
  const { pieces, values } = flatten(fragment);
  const prefix = freePrefix(pieces);
  const text = [pieces[0]!];
  const places: number[] = [];
  let length = text[0]!.length;
  const parameters = values.flatMap((value, index) => {
    const parameter = encodeParameter(value, index + 1);
    const name = `${prefix}${index + 1}`;
    const marker = parameter === undefined ? "NULL" : parameter.call ? `${parameter.call}(:${name})` : `:${name}`;
    const [before, after] = [pieces[index]!, pieces[index + 1]!];
    const apart = parameter === undefined && WORD.test(before.slice(-1)) ? " " : "";
    const goesOn = WORD.test(after) || after === "" && index + 1 < values.length;
    places.push(length + apart.length);
    const added = [apart, marker, goesOn ? " " : "", after];
    text.push(...added);
    length += added.join("").length;
    return parameter === undefined ? [] : [{ name, type: parameter.type, value: parameter.value }];
  });
  const whole = text.join("");
  checkPlaces(whole, places);
  return checked({ text: whole, parameters });
}

/**
 * Refuses values in quotes and comments: a warehouse would take the parameter's name for text, and not say so.
 *
 * @param places Where the values are, in ascending order.
 */
function checkPlaces(text: string, places: readonly number[]): void {
  if (places.length === 0 || !/['"]|--|\/\*|\$\$/.test(text)) return;
  // What a back-slash in r'...' and a backtick in quotes mean depends on the rest, so a place counts only if all readings agree.
  const escapes = /\br['"]/i.test(text) ? [true, false] : [true];
  const readings = [text, ...text.includes("`") ? [withoutBackticks(text)] : []].flatMap((one) =>
    escapes.map((escapes) => quotedPlaces(one, places, escapes))
  );
  const [first, ...others] = readings;
  for (const [place, kind] of first!) {
    if (!others.every((reading) => reading.has(place))) continue;
    const number = places.indexOf(place) + 1;
    throw badParameter(
      kind === "comment"
        ? `parameter ${number} is in a comment, where values are not bound; write it outside, or leave it out`
        : `parameter ${number} is within quotes, where values are not bound; write \${value} without the quotes, ` +
          "'a' || ${value} for a part of a text, or ${sql.id(name)} for a name",
    );
  }
}

/** The places that are inside of quotes or comments. */
function quotedPlaces(text: string, places: readonly number[], escapes: boolean): Map<number, "comment" | "quotes"> {
  const found = new Map<number, "comment" | "quotes">();
  let next = 0;
  for (const { kind, start, end } of sqlTokens(text, { escapes })) {
    for (; next < places.length && places[next]! < end; next++) {
      if (kind === "comment") found.set(places[next]!, "comment");
      else if ((kind === "string" || kind === "name") && places[next]! > start) found.set(places[next]!, "quotes");
    }
  }
  return found;
}

/** A text with its names in backticks replaced by as long ones. The tokens know only the quotes of Postgres. */
function withoutBackticks(text: string): string {
  return text.replace(/`[^`]*`/g, (name) => `"${"n".repeat(name.length - 2)}"`);
}

/** The text of a fragment in pieces, and the values between them. */
function flatten(fragment: Fragment): { pieces: string[]; values: unknown[] } {
  const pieces = [""];
  const values: unknown[] = [];
  const add = (text: string) => pieces[pieces.length - 1] += text;
  const open: { fragment: Fragment; next: number }[] = [{ fragment, next: 0 }]; // no recursion: a loop may nest deeply
  const outer = new Set([fragment]);
  for (let top = open[0]; top !== undefined; top = open[open.length - 1]) {
    const { strings, values: own } = top.fragment;
    const index = top.next++;
    add(strings[index] ?? "");
    if (index >= own.length) {
      open.pop();
      outer.delete(top.fragment);
      continue;
    }
    const value = own[index];
    if (value instanceof Identifier) {
      used(value);
      add(value.names.map(quoteName).join("."));
    } else if (value instanceof Fragment) {
      if (outer.has(value)) throw badParameter("a fragment contains itself");
      used(value);
      outer.add(value);
      open.push({ fragment: value, next: 0 });
    } else {
      values.push(value);
      pieces.push("");
    }
  }
  return { pieces, values };
}

/** A name in backticks. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

/** A prefix for the names of the parameters. The person's own text has no such name after a colon. */
function freePrefix(pieces: readonly string[]): string {
  const taken = new Set(
    pieces.flatMap((piece) => [...piece.matchAll(/:\s*(p_*)\d/gi)].map(([, name]) => name!.toLowerCase())),
  );
  let prefix = "p";
  while (taken.has(prefix)) prefix += "_";
  return prefix;
}

function checked(statement: WarehouseStatement): WarehouseStatement {
  const { text } = statement;
  if (text.length <= LONGEST / 3) return statement; // a character has at most three bytes for each UTF-16 unit
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= LONGEST) return statement;
  const size = (bytes / 1024 ** 2).toFixed(1);
  throw badParameter(
    `its text has ${size} MiB; a warehouse takes 16 MiB. Put the values into a file, and read it from a Volume`,
  );
}

/** The first words of statements that can't write. No function that such a statement calls can write either. */
const READS: ReadonlySet<string> = new Set("select values table show describe desc explain list".split(" "));
/** The first words of statements that may end as an INSERT or the like, and the words that show it. */
const MAY_WRITE: ReadonlySet<string> = new Set(["with", "from"]);
const WRITES: ReadonlySet<string> = new Set(["insert", "merge", "update", "delete", "into", "overwrite"]);
/** The first words of statements that run others, which may return any number of rows. */
const RUNS: ReadonlySet<string> = new Set(["call", "execute", "begin"]);

/** Whether a text only reads, so that it may run a second time for more of its rows. */
export function readsOnly(text: string): boolean {
  const words = wordsOf(text);
  const { value: first = "" } = words.next();
  return READS.has(first) || MAY_WRITE.has(first) && !words.some((word) => WRITES.has(word));
}

/** Whether a statement may return many rows. Others return a few, such as the number of rows that they have changed. */
export function returnsRows(text: string): boolean {
  const { value: first = "" } = wordsOf(text).next();
  return READS.has(first) || MAY_WRITE.has(first) || RUNS.has(first);
}

function* wordsOf(text: string): Generator<string, undefined, void> {
  const plain = text.includes("`") ? withoutBackticks(text) : text;
  for (const { kind, start, end } of sqlTokens(plain, { escapes: true })) {
    if (kind === "word") yield plain.slice(start, end).toLowerCase();
  }
}
