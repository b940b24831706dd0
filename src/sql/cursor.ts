import { beginSpan, isTraced } from "../core/trace.ts";
import type { Exchange } from "./exchange.ts";
import { Portal } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { onlyReads } from "./first_rows.ts";
import type { Statement } from "./fragment.ts";
import {
  exchange,
  type FindSession,
  learnTypes,
  leftTransaction,
  noteCancellation,
  restore,
  withEmptyArrays,
} from "./run.ts";
import type { LookUp } from "./learned_types.ts";
import { type Lease, noteSettings, type Session } from "./session.ts";
import { acquire, cleanUpLimit, type StopOptions, stoppable, until } from "./stop.ts";
import type { ParserSource } from "./types.ts";

/** Rows of the first batch, before it is known how large they are. */
const FIRST_BATCH = 100;
/** The most rows of a batch. Over a network, few large batches are faster than many small ones. */
const MOST_ROWS = 5000;
/** The approximate bytes of a batch. */
const BATCH_BYTES = 4_000_000;
/** The most bytes of rows that are read ahead so that another statement can have the connection. */
const MOST_AHEAD = 32_000_000;

/**
 * Reads a statement's rows batch by batch, in constant memory. Leaving early ends the statement and frees the connection.
 * In a transaction other statements may run between two rows. On a session that all statements share, the other rows are
 * read ahead when another statement needs the connection.
 *
 * @throws {LakebaseError} As `run`.
 */
export async function* iterate<Row>(
  find: FindSession,
  statement: Statement,
  options: StopOptions = {},
): AsyncGenerator<Row, void, void> {
  using stop = stoppable(options);
  const session = await until(find(), stop.signal);
  const signals = [stop.signal, session.signal].filter((signal) => signal !== undefined);
  const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
  const span = isTraced() ? await beginSpan({ text: statement.text, server: session.server }) : undefined;
  let failure: { error: unknown } | undefined;
  try {
    await using reader = new Reader(session, statement, signal);
    while (!reader.ended) {
      for (const row of await reader.batch()) {
        signal?.throwIfAborted();
        yield row as Row;
      }
    }
    span?.did(reader.answer.tag);
  } catch (error) {
    failure = { error };
    throw error;
  } finally {
    span?.end(failure);
  }
}

/** Reads batches; it holds a connection from the first to the last, or in a transaction for each batch. */
export class Reader implements AsyncDisposable {
  readonly #session: Session;
  readonly #statement: Statement;
  readonly #signal: AbortSignal | undefined;
  readonly #types: ParserSource;
  #portal: Portal;
  #lease: Lease | undefined;
  #next = FIRST_BATCH;
  /** The batch that is being fetched; it never rejects. */
  #fetching: Promise<unknown> | undefined;
  /** Batches that were read ahead, and why no more could be. */
  readonly #ahead: { rows: unknown[]; bytes: number }[] = [];
  #failure: { error: unknown } | undefined;
  #readingAhead: Promise<boolean> | undefined;
  #left = false;

  /** Creates a cursor for a statement, which the signal ends. `types` replace the session's parsers. */
  constructor(
    session: Session,
    statement: Statement,
    signal: AbortSignal | undefined,
    types: ParserSource = session.types,
  ) {
    this.#session = session;
    this.#statement = statement;
    this.#signal = signal;
    this.#types = types;
    this.#portal = this.#portalOf(statement);
  }

  #portalOf(statement: Statement): Portal {
    const { learned, transaction } = this.#session;
    return new Portal(statement, { types: this.#types, learned, held: transaction !== undefined });
  }

  /** Whether there are no more rows. */
  get ended(): boolean {
    return this.#next === 0 && this.#ahead.length === 0 && this.#failure === undefined;
  }

  /** The columns, the notices, and after the last batch the command's tag. */
  get answer(): Pick<Exchange, "fields" | "notices" | "tag"> {
    return this.#portal;
  }

  /** The next rows. */
  async batch(): Promise<unknown[]> {
    await this.#readingAhead;
    const ahead = this.#ahead.shift();
    if (ahead !== undefined) return ahead.rows;
    if (this.#failure !== undefined) throw this.#failure.error;
    const fetching = this.#fetch();
    this.#fetching = fetching.catch(() => {}); // the line below throws it
    return await fetching;
  }

  async #fetch(): Promise<unknown[]> {
    const session = this.#session;
    try {
      const lease = this.#lease ??= await this.#acquire();
      const submit = this.#portal.next(this.#next);
      await exchange(session, lease, this.#signal, this.#portal, submit);
      if (!this.#portal.knowsTypes) await this.#learnTypes(lease);
      if (session.transaction !== undefined) this.#giveBack();
      else if (!this.#portal.more) leftTransaction(session, lease);
      this.#next = this.#size();
      return this.#portal.rows;
    } catch (error) {
      noteCancellation(session, this.#lease, this.#signal, this.#statement);
      await this.#end(); // the error of the failed statement says more than the error of its end
      if (this.#signal?.aborted) throw this.#signal.reason;
      throw await explainFailure(session, error, this.#statement);
    }
  }

  /**
   * Ends the statement if rows are left, and gives the connection back.
   *
   * @throws {LakebaseError} If the server could not commit what the statement wrote.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#left = true;
    await this.#readingAhead;
    const failure = await this.#end();
    if (failure === undefined || this.#signal?.aborted) return;
    const explained = await explainFailure(this.#session, failure.error, this.#statement);
    if (explained.code !== "CONNECTION_LOST" || !onlyReads(this.#statement)) throw explained;
  }

  async #acquire(): Promise<Lease> {
    const lease = await acquire(this.#session, this.#signal, this.#statement.text);
    this.#lease = lease;
    if (this.#session.held || this.#session.transaction !== undefined) noteSettings(lease, this.#statement);
    if (this.#statement.emptyArrays !== undefined && !this.#portal.open) {
      this.#portal = this.#portalOf(await withEmptyArrays(this.#session, lease, this.#signal, this.#statement));
    }
    lease.finish = () => this.#readingAhead ??= this.#readAhead().finally(() => this.#readingAhead = undefined);
    return lease;
  }

  /** Reads the other rows, unless there are too many to keep, and gives the connection back. It never rejects. */
  async #readAhead(): Promise<boolean> {
    await this.#fetching;
    while (this.#next > 0 && !this.#left && this.#failure === undefined && this.#lease !== undefined) {
      if (this.#ahead.reduce((sum, { bytes }) => sum + bytes, 0) >= MOST_AHEAD) return false;
      const rows = await this.#fetch().catch((error) => {
        this.#failure = { error };
        return [];
      });
      if (rows.length > 0) this.#ahead.push({ rows, bytes: this.#portal.bytes });
    }
    if (!this.#left) await this.#end();
    return true;
  }

  /** Asks within the statement's exchange while that goes on, because no other statement can run on the connection. */
  async #learnTypes(lease: Lease): Promise<void> {
    const portal = this.#portal;
    const lookUp: LookUp | undefined = portal.paused
      ? (text, values) => portal.ask(text, values.map(String))
      : undefined;
    await learnTypes(this.#session, lease, this.#signal, portal, lookUp);
  }

  /** The number of rows to ask for next, based on the size of the last rows. */
  #size(): number {
    const { more, bytes, rows } = this.#portal;
    if (!more) return 0;
    const fitting = Math.floor(BATCH_BYTES / Math.max(1, bytes / rows.length));
    return Math.max(1, Math.min(MOST_ROWS, fitting));
  }

  /** Ends the statement and gives the connection back. Returns the error, if ending the statement failed. */
  async #end(): Promise<{ error: unknown } | undefined> {
    const session = this.#session;
    const signal = this.#signal?.aborted ? cleanUpLimit() : this.#signal;
    try {
      if (this.#portal.open && this.#lease?.broken === undefined && !session.signal?.aborted) {
        const lease = this.#lease ??= await acquire(session, signal, this.#statement.text);
        const submit = this.#portal.close();
        await exchange(session, lease, signal, this.#portal, submit);
      }
      if (this.#lease !== undefined) await restore(session, this.#lease);
    } catch (error) {
      return { error }; // a portal that can't be closed ends with its connection or its transaction
    } finally {
      this.#giveBack();
    }
  }

  #giveBack(): void {
    this.#lease?.release();
    this.#lease = undefined;
  }
}
