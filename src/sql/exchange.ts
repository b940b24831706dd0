import type { EventEmitter } from "node:events";
import { LakebaseError } from "../core/errors.ts";
import type { CatalogCache } from "./catalog_cache.ts";
import { type Field, fieldsOf, RowReader, type WireField, type WireRow } from "./result.ts";
import { type ParserSource, unreadableStyle } from "./types.ts";

/** A notice or warning of the server, for example from `RAISE NOTICE`. */
export interface Notice {
  /** `NOTICE`, `WARNING`, `INFO`, ... */
  severity: string;
  /** The text of the notice. */
  message: string;
  /** Its `DETAIL`. */
  detail?: string;
  /** Its `HINT`, which says what to do. */
  hint?: string;
}

/** The part of `pg`'s connection that exchanges use: the messages of the extended query protocol. */
export interface Wire extends EventEmitter {
  /** The session's settings, as the server last reported them; only connections of the pool have this. */
  readonly reported?: ReadonlyMap<string, string>;
  /** The socket. */
  stream: { writable: boolean; write(bytes: Uint8Array): boolean; cork?(): void; uncork?(): void };
  /** Sends a simple query. */
  query(text: string): void;
  /** Sends `Parse`. */
  parse(message: { text: string }): void;
  /** Sends `Describe`. */
  describe(message: { type: "P" | "S"; name: string }): void;
  /** Sends `Execute`. */
  execute(message: { portal: string; rows?: number }): void;
  /** Sends `Close`. */
  close(message: { type: "P"; name: string }): void;
  /** Sends `Flush`. */
  flush(): void;
  /** Sends `Sync`. */
  sync(): void;
  /** Sends `CopyFail`. */
  sendCopyFail(message: string): void;
}

/** The most notices that are kept: a loop of RAISE NOTICE would fill the memory. */
const MAX_NOTICES = 1000;

type WireNotice = Partial<Record<"severity" | "message" | "detail" | "hint", string | undefined>>;

/** Receives the messages of a connection that answer no statement. */
interface WireListener {
  /** The exchange that is under way, which gets the notices. */
  exchange: Exchange | undefined;
  /** Why the server ended the session. The server may send this between two statements, where `pg` would lose it. */
  endReason: unknown;
}

interface WireStatus {
  parameterName: string;
  parameterValue: string;
}

/** One listener for each connection: adding one for each query would cost as much as reading its rows. */
const listeners = new WeakMap<Wire, WireListener>();

function listenerOf(wire: Wire): WireListener {
  const existing = listeners.get(wire);
  if (existing !== undefined) return existing;
  const listener: WireListener = { exchange: undefined, endReason: undefined };
  listeners.set(wire, listener);
  wire.on("notice", (notice: WireNotice) => listener.exchange?.addNotice(notice));
  wire.on("errorMessage", (error: { severity?: unknown }) => {
    if (!keepsConnection(error)) listener.endReason ??= error;
  });
  wire.on("parameterStatus", (status: WireStatus) => listener.exchange?.settingReported(status));
  return listener;
}

/** Returns the cause of an error: if the error only says that the connection has ended, why the server ended it. */
function reasonOf(error: unknown, wire: Wire): unknown {
  const fromServer = (error as { severity?: unknown } | null)?.severity !== undefined;
  return fromServer ? error : listeners.get(wire)?.endReason ?? error;
}

/** How rows are read. */
export interface ReadOptions {
  /** The parsers of values. */
  types: ParserSource;
  /** What is known of the database's own types and tables. */
  catalog?: CatalogCache | undefined;
  /** Makes the array that the rows are pushed to. @default {a plain array} */
  makeRows?: (() => unknown[]) | undefined;
}

/**
 * One exchange with the server, from the first message to the server's `ReadyForQuery`; for `pg` it is a query. Each row
 * becomes an object as soon as its message is read, without an array or a promise in between. The exchange ends when the
 * server is ready: `pg` itself reports an error before it is known whether a transaction is still open.
 */
export abstract class Exchange {
  /** The rows of the current batch. */
  rows: unknown[];
  /** The size of those rows on the wire, in bytes. */
  bytes = 0;
  /** The columns. */
  fields: Field[] = [];
  /** The columns as the wire describes them. */
  wireFields: WireField[] = [];
  /** The last command's tag, such as `INSERT 0 3`. */
  tag = "";
  /** Whether the server has more rows than were fetched. */
  more = false;
  /** Notices and warnings. */
  readonly notices: Notice[] = [];
  /** Whether the server waits until the next batch is asked for. */
  paused = false;
  /** Whether the connection can't be used again. */
  lost = false;
  /** Called when the exchange has failed while the server goes on sending rows. */
  onFailed: (() => void) | undefined;
  /** Called when the connection can't be used again. */
  onLost: (() => void) | undefined;

  protected wire!: Wire;
  #end = Promise.withResolvers<void>();
  #failure: unknown;
  #failed = false;
  #described = false;
  /** Whether encoding the messages failed, so that only a Sync was sent. */
  #unsent = false;
  #reader: RowReader | undefined;
  readonly #options: ReadOptions;

  /** Creates an exchange, which `pg` submits. */
  constructor(options: ReadOptions) {
    this.#options = options;
    this.rows = this.#makeRows();
  }

  /** Settles once the server is ready for the next statement, or the connection is lost. */
  get done(): Promise<void> {
    return this.#end.promise;
  }

  /** Sends the messages; `pg` calls this when the connection is free. */
  submit(wire: Wire): null {
    this.wire = wire;
    listenerOf(wire).exchange = this;
    try {
      this.send(wire);
    } catch (error) {
      this.#unsent = true;
      this.#fail(error);
      wire.sync();
    }
    return null;
  }

  /** Writes the messages of the statement. */
  protected abstract send(wire: Wire): void;

  /** Whether the server waits for a `Sync` that has not been sent. */
  protected get owesSync(): boolean {
    return false;
  }

  /** Prepares the exchange for another batch. */
  protected renew(): void {
    this.#end = Promise.withResolvers();
    this.more = false;
    this.paused = false;
    if (this.#failed) this.#end.reject(this.#failure);
  }

  /** Ends the exchange. */
  protected finish(): void {
    const listener = listenerOf(this.wire);
    if (listener.exchange === this) listener.exchange = undefined; // the next exchange may be under way already
    this.#checkStyle();
    if (this.#failed) this.#end.reject(this.#failure);
    else this.#end.resolve();
  }

  /** Ends a batch; the server then waits until the next one is asked for. */
  protected pause(): void {
    this.paused = true;
    this.#checkStyle();
    if (this.#failed) this.#end.reject(this.#failure);
    else this.#end.resolve();
  }

  handleRowDescription({ fields }: { fields: WireField[] }): void {
    this.#described = true;
    this.wireFields = fields;
    this.fields = fieldsOf(fields, this.#options.catalog);
    this.rows = this.#makeRows(); // of several statements, only the rows of the last one are kept
    this.#reader = new RowReader(this.fields, this.#options.types, this.#options.catalog);
  }

  /** Whether the types of the columns are known. */
  get hasTypes(): boolean {
    return this.#options.catalog?.hasTypes(this.wireFields) ?? true;
  }

  /** Applies types that were looked up: names the types of the columns, and turns the texts of arrays into arrays. */
  typesFetched(): void {
    const { catalog, types } = this.#options;
    if (catalog === undefined) return;
    this.fields = fieldsOf(this.wireFields, catalog);
    try {
      this.#reader?.readArrays(this.rows, types, catalog);
    } catch (error) {
      throw unreadable(error);
    }
  }

  handleDataRow(message: { readonly fields: WireRow; length: number }): void {
    if (this.#failed) return;
    try {
      this.bytes += message.length;
      this.rows.push(this.#reader?.read(message.fields));
    } catch (error) {
      if (error instanceof LakebaseError) return this.#fail(error); // the row is too long; the other rows are ignored
      this.#fail(unreadable(error));
      this.onFailed?.();
    }
  }

  handleCommandComplete({ text }: { text: string }): void {
    if (!this.#described) this.#forgetRows();
    this.#described = false;
    this.tag = text;
  }

  handleEmptyQuery(): void {}

  handlePortalSuspended(): void {
    this.more = true;
  }

  handleCopyInResponse(): void {
    this.#fail(copyRefused("COPY FROM STDIN", "there is nothing to read from here"));
    this.wire.sendCopyFail("a query can't run COPY FROM STDIN");
  }

  handleCopyData(): void {
    if (this.#failed) return;
    this.#fail(copyRefused("COPY TO STDOUT", "its bytes would be lost here; select the rows instead"));
    this.onFailed?.();
  }

  /** Handles an error of the server, or of `pg` if the connection broke. */
  handleError(error: unknown, wire: Wire = this.wire): void {
    this.wire ??= wire;
    this.#fail(reasonOf(error, wire));
    if (!keepsConnection(error)) return this.#lose();
    if (this.owesSync) wire.sync();
    this.#whenReady(wire);
  }

  handleReadyForQuery(): void {
    if (!this.owesSync || this.#unsent) return this.finish();
    // The server is ready without having got a Sync, so nobody could tell to which statement its next messages belong.
    this.handleError(new Error("the server ended the statement before all its rows were read"));
  }

  /** Waits until the server is ready after an error: `pg` forgets a query at its error, before that. */
  #whenReady(wire: Wire): void {
    const settle = (gone: boolean) => {
      wire.removeListener("readyForQuery", onReady);
      wire.removeListener("end", onEnd);
      if (gone) this.#lose();
      else this.finish();
    };
    const onReady = () => settle(false);
    const onEnd = () => settle(true);
    wire.on("readyForQuery", onReady);
    wire.on("end", onEnd);
  }

  #lose(): void {
    this.lost = true;
    this.onLost?.();
    this.finish();
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#failure = error;
    this.#forgetRows();
  }

  #forgetRows(): void {
    this.rows = this.#makeRows();
    this.fields = [];
    this.wireFields = [];
  }

  /** Refuses rows in a date or interval style that can't be read. The server reports a change of style only at the end. */
  #checkStyle(): void {
    if (this.#failed || this.wireFields.length === 0) return;
    const error = unreadableStyle(this.wireFields, this.wire.reported, this.#options.types);
    if (error !== undefined) this.#fail(error);
  }

  /** Refuses a text encoding that the driver does not read; the client sets UTF-8 again. */
  settingReported({ parameterName, parameterValue }: WireStatus): void {
    if (parameterName !== "client_encoding" || parameterValue === "UTF8") return;
    this.#fail(otherEncoding(parameterValue));
  }

  /** Keeps a notice. */
  addNotice({ severity = "NOTICE", message = "", detail, hint }: WireNotice): void {
    if (this.notices.length >= MAX_NOTICES) return;
    this.notices.push({ severity, message, ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) });
  }

  #makeRows(): unknown[] {
    return this.#options.makeRows?.() ?? [];
  }
}

/** Whether the connection can still be used after an error: it can after an `ERROR`, but not after `FATAL`. */
function keepsConnection(error: unknown): boolean {
  return (error as { severity?: unknown } | null)?.severity === "ERROR";
}

function otherEncoding(encoding: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot set client_encoding to ${encoding}: text goes to and from the server in UTF-8, so the setting was undone; for the bytes ` +
      `of another encoding, SELECT convert_to(text, '${encoding}')`,
  );
}

function copyRefused(what: string, instead: string): LakebaseError {
  return new LakebaseError("QUERY_FAILED", `Cannot run ${what} as a query: ${instead}`, { sqlstate: "0A000" });
}

function unreadable(cause: unknown): LakebaseError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LakebaseError("QUERY_FAILED", `Cannot read the result: the parser of a type failed: ${reason}`, { cause });
}
