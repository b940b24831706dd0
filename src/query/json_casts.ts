import { type SqlToken, sqlTokens } from "../sql_text.ts";

/** Behind each parameter that is JSON: without it the server would take it for text. */
export const JSONB_CAST = "::pg_catalog.jsonb";
const JSON_CAST = "::pg_catalog.json";
/** Pieces of the cast: two colons, the schema, a dot, the type. */
const CAST_PIECES = 5;

/**
 * A statement whose JSON parameters are cast to what they are for. `jsonb` sorts keys and takes no `\u0000`, so it is only
 * where an expression has no type of its own: what goes into a column as it is goes there as `json`, which every column of
 * either type takes; where the person wrote a cast, that one alone stays.
 *
 * @param text SQL with {@linkcode JSONB_CAST} behind each parameter that is JSON.
 */
export function withJsonCasts(text: string): string {
  const tokens = [...sqlTokens(text)].filter(({ kind }) => kind !== "space" && kind !== "comment");
  const kept: string[] = [];
  let from = 0;
  const places = new Places(text);
  tokens.forEach((token, index) => {
    places.pass(token);
    if (token.kind !== "parameter" || !text.startsWith(JSONB_CAST, token.end)) return;
    const before = tokens.slice(Math.max(0, index - 2), index).map((piece) => word(text, piece));
    const next = tokens[index + CAST_PIECES + 1];
    const behind = next === undefined ? "" : word(text, next);
    const casts = behind === ":" || behind === "as" && before.join("") === "cast(";
    if (!casts && !places.assigns(before.at(-1), behind)) return;
    kept.push(text.slice(from, token.end), casts ? "" : JSON_CAST);
    from = token.end + JSONB_CAST.length;
  });
  return kept.join("") + text.slice(from);
}

const ENDS: ReadonlySet<string> = new Set("where from returning on when select union".split(" "));

/** Follows a statement to where values go into columns as they are: a row of an INSERT, the right side in a SET. */
class Places {
  readonly #text: string;
  #depth = 0;
  /** The depth of the statement that writes, and of the list in it. */
  #writes: { kind: "insert" | "update"; depth: number } | undefined;
  #list: { kind: "values" | "set"; depth: number } | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  pass(token: SqlToken): void {
    const piece = word(this.#text, token);
    if (piece === "(") this.#depth++;
    else if (piece === ")") this.#leave();
    else if (token.kind === "word") this.#heed(piece);
  }

  assigns(before: string | undefined, behind: string): boolean {
    if (this.#list?.kind === "values") {
      return this.#depth === this.#list.depth + 1 && (before === "(" || before === ",") && /^[,)]$/.test(behind);
    }
    const ends = behind === "" || /^[,;)]$/.test(behind) || ENDS.has(behind);
    return this.#list !== undefined && this.#depth === this.#list.depth && before === "=" && ends;
  }

  #leave(): void {
    this.#depth--;
    if (this.#list !== undefined && this.#depth < this.#list.depth) this.#list = undefined;
    if (this.#writes !== undefined && this.#depth < this.#writes.depth) this.#writes = undefined;
  }

  #heed(piece: string): void {
    const depth = this.#depth;
    const here = this.#writes?.depth === depth ? this.#writes.kind : undefined;
    if (piece === "insert" || piece === "update") this.#writes = { kind: piece, depth };
    else if (piece === "values" && here === "insert") this.#list = { kind: "values", depth };
    else if (piece === "set" && here === "update") this.#list = { kind: "set", depth };
    else if (ENDS.has(piece) && this.#list?.depth === depth) this.#list = undefined;
    if (piece === "select" && here !== undefined) this.#writes = undefined;
  }
}

function word(text: string, { start, end }: SqlToken): string {
  return end - start > 20 ? "..." : text.slice(start, end).toLowerCase();
}
