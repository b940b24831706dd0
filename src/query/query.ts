import { type Bundle, DISPLAY, holdIdle, holdIdleError } from "../notebook/display.ts";
import { drawResult, SHOWN_ROWS } from "../notebook/result.ts";
import { iterate } from "./cursor.ts";
import { compile, Fragment, type Statement } from "./fragment.ts";
import { Plan, type PlanNode } from "./plan.ts";
import type { Result } from "./result.ts";
import { run, runPreview } from "./run.ts";
import type { Session } from "./session.ts";
import type { StopOptions } from "./stop.ts";
import { LakebaseError } from "../errors.ts";

/** How a {@linkcode Query} runs. */
export interface QueryOptions {
  /** Cancels it on the server; the query then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Seconds that it may take. @default {no limit but the connection's `statementTimeout`} */
  timeout?: number;
  /** Rows that a cell shows. @default {20} */
  limit?: number;
}

/** How a plan is made. */
export interface ExplainOptions {
  /** Runs the statement, with all that it changes, and measures it. @default {false} */
  analyze?: boolean;
}

/**
 * A statement that has not run yet. `await` runs it and gives its rows; as the last expression of a cell it runs and draws
 * itself, fetching only the rows that it shows; inside another `sql` it is a fragment.
 */
export class Query<Row = Record<string, unknown>> extends Fragment
  implements PromiseLike<Result<Row>>, AsyncIterable<Row> {
  readonly #session: () => Promise<Session>;
  readonly #options: QueryOptions;
  #result: Promise<Result<Row>> | undefined;

  /** Made by the `sql` tag. */
  constructor(fragment: Fragment, session: () => Promise<Session>, options: QueryOptions = {}) {
    super(fragment.strings, fragment.values);
    this.#session = session;
    this.#options = options;
  }

  /** Runs the query, once however often it is awaited. */
  then<T = Result<Row>, E = never>(
    onResult?: ((result: Result<Row>) => T | PromiseLike<T>) | null,
    onError?: ((error: unknown) => E | PromiseLike<E>) | null,
  ): Promise<T | E> {
    this.#result ??= this.#run();
    return this.#result.then(onResult, onError);
  }

  /** {@linkcode then}, for errors alone. */
  catch<E = never>(onError: (error: unknown) => E | PromiseLike<E>): Promise<Result<Row> | E> {
    return this.then(undefined, onError);
  }

  /** {@linkcode then}, for either outcome. */
  finally(onEnd: () => void): Promise<Result<Row>> {
    return this.then().finally(onEnd);
  }

  /**
   * The value of the first row's first column.
   *
   * @returns The value; `undefined` where there is no row.
   */
  async value<T = unknown>(): Promise<T | undefined> {
    const { row, fields } = await this.#firstRow();
    return row === undefined ? undefined : (row as Record<string, unknown>)[fields[0]?.key ?? ""] as T;
  }

  /**
   * The first row; no more than that is fetched.
   *
   * @returns The row; `undefined` where there is none.
   */
  async first(): Promise<Row | undefined> {
    return (await this.#firstRow()).row;
  }

  /** The same query with other options. */
  with(options: QueryOptions): Query<Row> {
    return new Query(this, this.#session, { ...this.#options, ...checkOptions(options) });
  }

  /**
   * How the server would run it.
   *
   * @param options `analyze` runs it, with all that it changes.
   */
  async explain({ analyze = false }: ExplainOptions = {}): Promise<Plan> {
    const { text, values } = compile(this);
    const explain = `EXPLAIN (FORMAT JSON${analyze ? ", ANALYZE" : ""}) `;
    const statement = { text: explain + text, values };
    type Explained = { "QUERY PLAN": { Plan: PlanNode }[] };
    const [row] = await run<Explained>(await this.#session(), statement, this.#stop()).catch(withoutPrefix(explain));
    return new Plan(row!["QUERY PLAN"][0]!);
  }

  /** Its rows, a batch at a time, in constant memory; leaving the loop ends the query. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Row, void, void> {
    const statement = compile(this);
    yield* iterate<Row>(await this.#session(), statement, this.#stop());
  }

  /** How a notebook draws it: runs it and fetches the rows that are shown. */
  async [DISPLAY](): Promise<Bundle> {
    const { limit = SHOWN_ROWS } = this.#options;
    try {
      const result = await (this.#result ?? this.#preview(limit));
      return holdIdle(drawResult(result, limit));
    } catch (error) {
      throw holdIdleError(error as Error);
    }
  }

  /** How `console.log` prints it: as the statement that it is. */
  [Symbol.for("Deno.customInspect")](): string {
    return `Query { ${compile(this).text} }`;
  }

  async #run(): Promise<Result<Row>> {
    const statement = compile(this);
    return await run<Row>(await this.#session(), statement, this.#stop());
  }

  async #preview(limit: number): Promise<Result<Row>> {
    const statement = compile(this);
    const session = await this.#session();
    return await runPreview<Row>(session, statement, limit, this.#stop()).catch((error) => {
      if (!severalStatements(error, statement)) throw error;
      return run<Row>(session, statement, this.#stop());
    });
  }

  async #firstRow(): Promise<{ row: Row | undefined; fields: Result["fields"] }> {
    const result = await (this.#result ?? this.#preview(1));
    return { row: result[0], fields: result.fields };
  }

  #stop(): StopOptions {
    return { signal: this.#options.signal, timeout: this.#options.timeout };
  }
}

/** Refused while it was parsed: nothing of it has run, so all of it may run another way. */
function severalStatements(error: unknown, { values }: Statement): boolean {
  return error instanceof LakebaseError && error.sqlstate === "42601" && values.length === 0 &&
    /multiple commands/.test(error.message);
}

/** The line that an error of an explained statement shows is the person's own. */
function withoutPrefix(prefix: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof LakebaseError) {
      error.message = error.message.replace(prefix, "").replace(/^( +)\^$/m, (line) => line.slice(prefix.length));
    }
    throw error;
  };
}

function checkOptions(options: QueryOptions): QueryOptions {
  const { timeout, limit } = options;
  if (timeout !== undefined && !(timeout > 0)) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run the query: timeout is ${timeout}; it must be a number of seconds above 0`,
    );
  }
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot show the query: limit is ${limit}; it must be a whole number above 0`,
    );
  }
  return options;
}
