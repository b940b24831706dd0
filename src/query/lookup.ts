import { type Bundle, DISPLAY, holdIdleError } from "../notebook/display.ts";

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
 */
export class Lookup<T extends Displayable> implements Promise<T> {
  /** `"Lookup"`. */
  readonly [Symbol.toStringTag] = "Lookup";
  readonly #look: () => Promise<T>;
  #found: Promise<T> | undefined;

  /** Made by `tables`, `schemas`, `describe`, `profile` and `explain`. */
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
