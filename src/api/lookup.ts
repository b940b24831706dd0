import { type Bundle, DISPLAY, holdIdleError } from "../draw/notebook.ts";

/**
 * Something that draws itself in a notebook.
 * @internal
 */
export interface Displayable {
  /** How a notebook draws it. */
  [DISPLAY](): Bundle;
}

/**
 * A question to the database that has not been asked yet. `await` asks it; however often it is awaited, it is asked once. As
 * the last expression of a cell it is asked and its answer draws itself, with or without `await`.
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

  /** Asks the question. */
  then<Answer = T, Failed = never>(
    onAnswer?: ((answer: T) => Answer | PromiseLike<Answer>) | null,
    onError?: ((error: unknown) => Failed | PromiseLike<Failed>) | null,
  ): Promise<Answer | Failed> {
    this.#answer ??= this.#ask();
    return this.#answer.then(onAnswer, onError);
  }

  /** {@linkcode then}, for errors only. */
  catch<Failed = never>(onError?: ((error: unknown) => Failed | PromiseLike<Failed>) | null): Promise<T | Failed> {
    return this.then(undefined, onError);
  }

  /** {@linkcode then}, for both outcomes. */
  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.then().finally(onEnd);
  }

  /** How a notebook draws it: asks the question and draws the answer. */
  async [DISPLAY](): Promise<Record<string, string>> {
    try {
      return (await this)[DISPLAY]();
    } catch (error) {
      throw holdIdleError(error as Error);
    }
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    return "Lookup { await it for the answer }";
  }
}
