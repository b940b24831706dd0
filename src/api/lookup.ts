import { type Bundle, DISPLAY, holdIdleError } from "../draw/notebook.ts";

/**
 * What draws itself in a notebook.
 * @internal
 */
export interface Displayable {
  /** What to show. */
  [DISPLAY](): Bundle;
}

/**
 * A look into the database that has not been taken yet. `await` takes it, once however often it is awaited; as the last
 * expression of a cell it is taken and draws itself, with or without `await`.
 *
 * @throws {LakebaseError} Once it is taken: what the method throws that made it.
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
  readonly #look: () => Promise<T>;
  #found: Promise<T> | undefined;

  /** Made by what looks: `tables`, `describe`, `profile`, `check`, `explain`, `columns`, `plot`, `browse` and the like. */
  constructor(look: () => Promise<T>) {
    this.#look = look;
  }

  /** Takes the look. */
  then<Found = T, Failed = never>(
    onFound?: ((found: T) => Found | PromiseLike<Found>) | null,
    onError?: ((error: unknown) => Failed | PromiseLike<Failed>) | null,
  ): Promise<Found | Failed> {
    this.#found ??= this.#look();
    return this.#found.then(onFound, onError);
  }

  /** {@linkcode then}, for errors alone. */
  catch<Failed = never>(onError?: ((error: unknown) => Failed | PromiseLike<Failed>) | null): Promise<T | Failed> {
    return this.then(undefined, onError);
  }

  /** {@linkcode then}, for either outcome. */
  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.then().finally(onEnd);
  }

  /** How a notebook draws it: takes the look and draws what it found. */
  async [DISPLAY](): Promise<Record<string, string>> {
    try {
      return (await this)[DISPLAY]();
    } catch (error) {
      throw holdIdleError(error as Error);
    }
  }

  /** How `console.log` prints it: as something to await. */
  [Symbol.for("Deno.customInspect")](): string {
    return "Lookup { await it to see what it finds }";
  }
}
