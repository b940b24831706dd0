import { type Bundle, DISPLAY, displayNow, holdIdleError, inNotebook } from "../draw/notebook.ts";

/**
 * Something that draws itself in a notebook.
 * @internal
 */
interface Displayable {
  /** The output in a notebook. */
  [DISPLAY](): Bundle;
}

/**
 * A question to the database that has not been asked yet. `await` asks it; awaiting it again does not ask again. As the last
 * expression of a cell, with or without `await`, it is asked and its answer is drawn.
 *
 * @throws {LakebaseError} When it is asked: the errors of the method that made it.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const lookup = db.describe("pg_type"); // nothing is asked yet
 * const columns = await lookup;
 * assert.equal(columns.find(({ name }) => name === "typname")?.type, "name");
 * assert.equal(await lookup, columns);
 * ```
 */
export class Lookup<T extends Displayable> implements Promise<T> {
  /** `"Lookup"`. */
  readonly [Symbol.toStringTag] = "Lookup";
  readonly #ask: () => Promise<T>;
  #answer: Promise<T> | undefined;

  /** Made by `tables`, `schemas`, `describe`, `profile`, `check`, `explain`, `columns`, `plot` and `browse`. */
  constructor(ask: () => Promise<T>) {
    this.#ask = ask;
  }

  /** Asks the question, unless it was asked before. */
  then<Answer = T, Failed = never>(
    onAnswer?: ((answer: T) => Answer | PromiseLike<Answer>) | null,
    onError?: ((error: unknown) => Failed | PromiseLike<Failed>) | null,
  ): Promise<Answer | Failed> {
    this.#answer ??= this.#ask();
    return this.#answer.then(onAnswer, onError);
  }

  /** Like {@linkcode then}, for errors only. */
  catch<Failed = never>(onError?: ((error: unknown) => Failed | PromiseLike<Failed>) | null): Promise<T | Failed> {
    return this.then(undefined, onError);
  }

  /** Like {@linkcode then}, for both outcomes. */
  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.then().finally(onEnd);
  }

  /** The output in a notebook: asks the question and draws the answer. */
  async [DISPLAY](): Promise<Record<string, string>> {
    try {
      return (await this)[DISPLAY]();
    } catch (error) {
      throw holdIdleError(error as Error);
    }
  }

  /** The text that `console.log` prints. */
  [Symbol.for("Deno.customInspect")](): string {
    return "Lookup { await it for the answer }";
  }
}

/**
 * Draws values anywhere in a cell, not only as its last expression: queries, results, plans, connections. The items of an array
 * are drawn one by one.
 *
 * @param values The values to draw.
 *
 * @example Two tables in one cell
 * ```ts
 * import { connect, show, sql } from "lakebase";
 *
 * await using _db = await connect({ local: true });
 * await show(sql`SELECT 1 AS one`, sql`SELECT 2 AS two`);
 * ```
 */
export async function show(...values: unknown[]): Promise<void> {
  for (const value of values) {
    if (isPlainArray(value)) await show(...value);
    else await showOne(value);
  }
}

function isPlainArray(value: unknown): value is unknown[] {
  return Array.isArray(value) && !(DISPLAY in value);
}

async function showOne(value: unknown): Promise<void> {
  const bundle = await bundleOf(value);
  if (inNotebook()) await displayNow(bundle);
  // deno-lint-ignore no-console -- outside of a notebook this is the only output
  else console.log(bundle["text/plain"]);
}

async function bundleOf(value: unknown): Promise<Bundle> {
  const draw = (value as { [DISPLAY]?: () => Bundle | Promise<Bundle> } | null | undefined)?.[DISPLAY];
  return draw === undefined ? { "text/plain": Deno.inspect(value) } : await draw.call(value);
}
