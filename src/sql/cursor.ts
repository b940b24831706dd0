import { beginSpan, isTraced } from "../core/trace.ts";
import type { CatalogQuery } from "./catalog_cache.ts";
import { Exchange, type ReadOptions, type Wire } from "./exchange.ts";
import { sendClose, sendOpening } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { onlyReads } from "./side_effects.ts";
import type { Statement } from "./fragment.ts";
import type { WireField, WireRow } from "./result.ts";
import {
  checkTransaction,
  fetchTypes,
  type FindSession,
  noteCancellation,
  rollBackOpen,
  runExchange,
  withEmptyArrays,
} from "./run.ts";
import type { Lease, Session } from "./session.ts";
import { noteCustomSettings } from "./session_state.ts";
import { acquire, cleanUpLimit, eitherSignal, type StopOptions, stoppable, until } from "./stop.ts";
import type { ParserSource } from "./types.ts";

/** The rows of the first batch, before the size of a row is known. */
const FIRST_ROWS = 100;
/** The most rows of a batch. Over a network, few large batches are faster than many small ones. */
const MAX_ROWS = 5000;
/** The bytes that a batch should have. */
const BATCH_BYTES = 4_000_000;
/** The most bytes of rows that are read ahead so that another statement can have the connection. */
const MAX_READ_AHEAD_BYTES = 32_000_000;

/**
 * Reads a statement's rows batch by batch, in constant memory. Leaving the loop early ends the statement and frees the
 * connection. In a transaction, other statements may run between two rows. In a session with a single connection, the
 * remaining rows are read ahead when another statement needs the connection.
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
  const signal = eitherSignal(stop.signal, session.signal);
  const span = isTraced() ? await beginSpan({ text: statement.text, server: session.server }) : undefined;
  let failure: { error: unknown } | undefined;
  try {
    await using cursor = new Cursor(session, statement, signal);
    while (!cursor.ended) {
      for (const row of await cursor.batch()) {
        signal?.throwIfAborted();
        yield row as Row;
      }
    }
    span?.setCommandTag(cursor.answer.tag);
  } catch (error) {
    failure = { error };
    throw error;
  } finally {
    span?.end(failure);
  }
}

/** How a portal is read. */
interface PortalOptions extends ReadOptions {
  /**
   * Whether a transaction keeps the portal open. Then every batch is a separate exchange, and other statements may run in
   * between; otherwise one exchange lasts until the last batch.
   */
  inTransaction: boolean;
}

let lastPortal = 0;

/** The columns and rows of a query that runs between two batches. */
interface SideQuery {
  names: string[];
  rows: Record<string, unknown>[];
}

/** A statement whose rows the server sends in batches: a portal, in the words of the protocol. */
class Portal extends Exchange {
  readonly #statement: Statement;
  readonly #inTransaction: boolean;
  readonly #name: string;
  #state: "new" | "open" | "closing" | "closed" = "new";
  #rows = 1;
  #sideQuery: SideQuery | undefined;

  /** Creates an exchange for a statement; `pg` submits it. */
  constructor(statement: Statement, options: PortalOptions) {
    super(options);
    this.#statement = statement;
    this.#inTransaction = options.inTransaction;
    this.#name = `lakebase_${++lastPortal}`; // statements between two batches use the unnamed portal
  }

  /** The text of the statement. */
  get text(): string {
    return this.#statement.text;
  }

  /** Whether the portal still has to be closed. */
  get open(): boolean {
    return this.#state === "open";
  }

  /**
   * Prepares the next batch.
   *
   * @param rows The most rows to return.
   * @returns Whether the exchange has to be submitted; otherwise the request was sent here, or the connection is lost.
   */
  next(rows: number): boolean {
    this.renew();
    this.#rows = rows;
    this.rows = [];
    this.bytes = 0;
    if (this.lost) return false;
    if (this.#state === "new" || this.#inTransaction) return true;
    this.#execute(this.wire);
    return false;
  }

  /** Runs another query while the server waits between two batches, and returns its rows. */
  async query(text: string, values: Statement["values"]): Promise<Record<string, unknown>[]> {
    const query: SideQuery = this.#sideQuery = { names: [], rows: [] };
    this.renew();
    this.more = true;
    sendOpening(this.wire, { text, values, rows: 0, last: "flush" });
    try {
      await this.done;
      return query.rows;
    } finally {
      this.#sideQuery = undefined;
    }
  }

  /** Prepares the end of the statement; returns what {@linkcode next} returns. */
  close(): boolean {
    this.renew();
    this.#state = "closing";
    if (this.lost) return false;
    if (this.#inTransaction) return true;
    sendClose(this.wire, this.#name);
    return false;
  }

  protected override get owesSync(): boolean {
    return !this.#inTransaction && this.#state === "open";
  }

  protected override send(wire: Wire): void {
    if (this.#state === "closing") return sendClose(wire, this.#name);
    if (this.#state !== "new") return this.#execute(wire);
    const { text, values } = this.#statement;
    sendOpening(wire, {
      text,
      values,
      portal: this.#name,
      rows: this.#rows,
      last: this.#inTransaction ? "sync" : "flush",
    });
    this.#state = "open";
  }

  override handleRowDescription(message: { fields: WireField[] }): void {
    if (this.#sideQuery === undefined) super.handleRowDescription(message);
    else this.#sideQuery.names = message.fields.map(({ name }) => name);
  }

  override handleDataRow(message: { readonly fields: WireRow; length: number }): void {
    if (this.#sideQuery === undefined) return super.handleDataRow(message);
    const { names, rows } = this.#sideQuery;
    rows.push(Object.fromEntries(names.map((name, index) => [name, message.fields[index]])));
  }

  override handlePortalSuspended(): void {
    super.handlePortalSuspended();
    if (!this.#inTransaction) this.pause();
  }

  override handleCommandComplete(message: { text: string }): void {
    if (this.#sideQuery !== undefined) return this.pause();
    super.handleCommandComplete(message);
    this.#complete();
  }

  override handleEmptyQuery(): void {
    this.#complete();
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (this.#inTransaction) this.wire.sync(); // the server ignored the first one, as it does during a copy-in
  }

  override handleError(error: unknown, wire?: Wire): void {
    super.handleError(error, wire);
    this.#state = "closed";
  }

  #complete(): void {
    if (!this.#inTransaction && this.#state !== "closing") this.wire.sync();
    this.#state = "closed";
  }

  #execute(wire: Wire): void {
    wire.execute({ portal: this.#name, rows: this.#rows });
    if (this.#inTransaction) wire.sync();
    else wire.flush();
  }
}

/** Reads the rows of a statement. It keeps a connection from the first batch to the last, or in a transaction for one batch. */
export class Cursor implements AsyncDisposable {
  readonly #session: Session;
  readonly #statement: Statement;
  readonly #signal: AbortSignal | undefined;
  readonly #types: ParserSource;
  #portal: Portal;
  #lease: Lease | undefined;
  /** The number of rows to fetch next; 0 after the last batch. */
  #nextRows = FIRST_ROWS;
  /** The end of the batch that is being fetched; it never rejects. */
  #fetching: Promise<unknown> | undefined;
  /** The batches that were read ahead, and the error that ended the reading. */
  readonly #batchesAhead: { rows: unknown[]; bytes: number }[] = [];
  #failureAhead: { error: unknown } | undefined;
  #readingAhead: Promise<boolean> | undefined;
  #disposed = false;

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
    const { catalog, transaction } = this.#session;
    return new Portal(statement, { types: this.#types, catalog, inTransaction: transaction !== undefined });
  }

  /** Whether there are no more rows. */
  get ended(): boolean {
    return this.#nextRows === 0 && this.#batchesAhead.length === 0 && this.#failureAhead === undefined;
  }

  /** The columns, the notices, and after the last batch the command's tag. */
  get answer(): Pick<Exchange, "fields" | "notices" | "tag"> {
    return this.#portal;
  }

  /** The next rows. */
  async batch(): Promise<unknown[]> {
    await this.#readingAhead;
    const ahead = this.#batchesAhead.shift();
    if (ahead !== undefined) return ahead.rows;
    if (this.#failureAhead !== undefined) throw this.#failureAhead.error;
    const fetching = this.#fetch();
    this.#fetching = fetching.catch(() => {}); // the line below throws the error
    return await fetching;
  }

  async #fetch(): Promise<unknown[]> {
    const session = this.#session;
    try {
      const lease = this.#lease ??= await this.#acquire();
      const submit = this.#portal.next(this.#nextRows);
      await runExchange(session, lease, this.#signal, this.#portal, submit);
      if (!this.#portal.hasTypes) await this.#fetchTypes(lease);
      if (session.transaction !== undefined) this.#release();
      else if (!this.#portal.more) checkTransaction(session, lease);
      this.#nextRows = this.#rowsOfNextBatch();
      return this.#portal.rows;
    } catch (error) {
      noteCancellation(session, this.#lease, this.#signal, this.#statement);
      await this.#end(); // an error of this is dropped, because the error of the statement says more
      if (this.#signal?.aborted) throw this.#signal.reason;
      throw await explainFailure(session, error, this.#statement);
    }
  }

  /**
   * Ends the statement if rows are left, and releases the connection.
   *
   * @throws {LakebaseError} If the server could not commit what the statement wrote.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await this.#readingAhead;
    const failure = await this.#end();
    if (failure === undefined || this.#signal?.aborted) return;
    const explained = await explainFailure(this.#session, failure.error, this.#statement);
    if (explained.code !== "CONNECTION_LOST" || !onlyReads(this.#statement)) throw explained;
  }

  async #acquire(): Promise<Lease> {
    const lease = await acquire(this.#session, this.#signal, this.#statement.text);
    this.#lease = lease;
    if (this.#session.held || this.#session.transaction !== undefined) noteCustomSettings(lease, this.#statement);
    if (this.#statement.emptyArrays !== undefined && !this.#portal.open) {
      this.#portal = this.#portalOf(await withEmptyArrays(this.#session, lease, this.#signal, this.#statement));
    }
    lease.finish = () => this.#readingAhead ??= this.#readAhead().finally(() => this.#readingAhead = undefined);
    return lease;
  }

  /** Reads the remaining rows, unless they are too many to keep, and releases the connection. It never rejects. */
  async #readAhead(): Promise<boolean> {
    await this.#fetching;
    while (this.#nextRows > 0 && !this.#disposed && this.#failureAhead === undefined && this.#lease !== undefined) {
      if (this.#batchesAhead.reduce((sum, { bytes }) => sum + bytes, 0) >= MAX_READ_AHEAD_BYTES) return false;
      const rows = await this.#fetch().catch((error) => {
        this.#failureAhead = { error };
        return [];
      });
      if (rows.length > 0) this.#batchesAhead.push({ rows, bytes: this.#portal.bytes });
    }
    if (!this.#disposed) await this.#end();
    return true;
  }

  /** Looks up types. While the exchange of the statement goes on, the query has to be part of it. */
  async #fetchTypes(lease: Lease): Promise<void> {
    const portal = this.#portal;
    const catalogQuery: CatalogQuery | undefined = portal.paused
      ? (text, values) => portal.query(text, values.map(String))
      : undefined;
    await fetchTypes(this.#session, lease, this.#signal, portal, catalogQuery);
  }

  /** Computes the number of rows to fetch next from the size of the last rows. */
  #rowsOfNextBatch(): number {
    const { more, bytes, rows } = this.#portal;
    if (!more) return 0;
    const fitting = Math.floor(BATCH_BYTES / Math.max(1, bytes / rows.length));
    return Math.max(1, Math.min(MAX_ROWS, fitting));
  }

  /** Ends the statement and releases the connection. Returns the error, if ending the statement failed. */
  async #end(): Promise<{ error: unknown } | undefined> {
    const session = this.#session;
    const signal = this.#signal?.aborted ? cleanUpLimit() : this.#signal;
    try {
      if (this.#portal.open && this.#lease?.broken === undefined && !session.signal?.aborted) {
        const lease = this.#lease ??= await acquire(session, signal, this.#statement.text);
        const submit = this.#portal.close();
        await runExchange(session, lease, signal, this.#portal, submit);
      }
      if (this.#lease !== undefined) await rollBackOpen(session, this.#lease);
    } catch (error) {
      return { error }; // a portal that can't be closed ends with its connection or its transaction
    } finally {
      this.#release();
    }
  }

  #release(): void {
    this.#lease?.release();
    this.#lease = undefined;
  }
}
