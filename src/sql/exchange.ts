import type { EventEmitter } from "node:events";
import { LakebaseError } from "../core/errors.ts";
import type { Learned } from "./learned_types.ts";
import { type Field, fieldsOf, RowReader, type WireField, type WireRow } from "./result.ts";
import { type ParserSource, unreadableStyle } from "./types.ts";

/** A notice or warning of the server, such as `RAISE NOTICE` sends. */
export interface Notice {
  /** `NOTICE`, `WARNING`, `INFO`, ... */
  severity: string;
  /** Its text. */
  message: string;
  /** Its `DETAIL`. */
  detail?: string;
  /** Its `HINT`: what to do. */
  hint?: string;
}

/** The part of `pg`'s connection that is used here: the messages of the extended query protocol. */
export interface Wire extends EventEmitter {
  /** The session's settings as the server last reported them; only on connections of the pool. */
  readonly reported?: ReadonlyMap<string, string>;
  /** The socket. */
  stream: { writable: boolean; write(bytes: Uint8Array): boolean; cork?(): void; uncork?(): void };
  /** A simple query. */
  query(text: string): void;
  /** `Parse`. */
  parse(message: { text: string }): void;
  /** `Describe`. */
  describe(message: { type: "P" | "S"; name: string }): void;
  /** `Execute`. */
  execute(message: { portal: string; rows?: number }): void;
  /** `Close`. */
  close(message: { type: "P"; name: string }): void;
  /** `Flush`. */
  flush(): void;
  /** `Sync`. */
  sync(): void;
  /** `CopyFail`. */
  sendCopyFail(message: string): void;
}

/** The most notices that are kept, because a loop of RAISE NOTICE would fill the memory. */
const MOST_NOTICES = 1000;

type WireNotice = Partial<Record<"severity" | "message" | "detail" | "hint", string | undefined>>;

/** Receives the messages of a connection that answer no statement. */
interface WireListener {
  /** The exchange that is under way: notices are part of it. */
  exchange: Exchange | undefined;
  /** Why the server ended the session. It may say so between two statements, where `pg` would lose the message. */
  endReason: unknown;
}
interface WireStatus {
  parameterName: string;
  parameterValue: string;
}

/** One listener for each connection: adding one for each query would cost as much as reading its rows. */
const listeners = new WeakMap<Wire, WireListener>();

function listenerOf(wire: Wire): WireListener {
  const known = listeners.get(wire);
  if (known !== undefined) return known;
  const listener: WireListener = { exchange: undefined, endReason: undefined };
  listeners.set(wire, listener);
  wire.on("notice", (notice: WireNotice) => listener.exchange?.addNotice(notice));
  wire.on("errorMessage", (error: { severity?: unknown }) => {
    if (!isOrdinary(error)) listener.endReason ??= error;
  });
  wire.on("parameterStatus", (status: WireStatus) => listener.exchange?.settingReported(status));
  return listener;
}

/** The reason for an error: if it only says that the connection has ended, why the server ended it. */
function reasonOf(error: unknown, wire: Wire): unknown {
  const fromServer = (error as { severity?: unknown } | null)?.severity !== undefined;
  return fromServer ? error : listeners.get(wire)?.endReason ?? error;
}

/** How rows are read. */
export interface Reading {
  /** The parsers of values. */
  types: ParserSource;
  /** What else is known of types and tables. */
  learned?: Learned | undefined;
  /** Makes the array that the rows are pushed to. @default {a plain array} */
  makeRows?: (() => unknown[]) | undefined;
}

/**
 * One exchange with the server, from the messages that are sent to the server's `ReadyForQuery`; `pg` takes it as a query.
 * Each row becomes an object as soon as its message is read, without an array or a promise in between. The exchange ends
 * when the server is ready; `pg` itself reports an error earlier, when it is not known yet whether a transaction is open.
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
  /** Whether the server has more rows. */
  more = false;
  /** Notices and warnings. */
  readonly notices: Notice[] = [];
  /** Whether the server waits until the next batch is asked for. */
  paused = false;
  /** Whether its connection can't be used again. */
  lost = false;
  /** Called when the exchange has failed, but the server goes on sending. */
  onFailed: (() => void) | undefined;
  /** Called when its connection can't be used again. */
  onLost: (() => void) | undefined;

  protected wire!: Wire;
  #end = Promise.withResolvers<void>();
  #failure: unknown;
  #failed = false;
  #described = false;
  /** Whether its messages could not be made, so that only a Sync was sent. */
  #unsent = false;
  #reader: RowReader | undefined;
  readonly #reading: Reading;

  /** Creates an exchange that reads rows in a given way. */
  constructor(reading: Reading) {
    this.#reading = reading;
    this.rows = this.#makeRows();
  }

  /** Settles once the server is ready for the next statement, or gone. */
  get done(): Promise<void> {
    return this.#end.promise;
  }

  /** Sends the statement; `pg` calls it when the connection is free. */
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

  /** Starts over for another batch. */
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
    this.fields = fieldsOf(fields, this.#reading.learned);
    this.rows = this.#makeRows(); // of several statements, only the rows of the last one are kept
    this.#reader = new RowReader(this.fields, this.#reading.types, this.#reading.learned);
  }

  /** Whether the types of its columns are known. */
  get knowsTypes(): boolean {
    return this.#reading.learned?.knowsTypes(this.wireFields) ?? true;
  }

  /** Reads its columns anew once their types are known: names them, and makes arrays of the texts of arrays. */
  typesLearned(): void {
    const { learned, types } = this.#reading;
    if (learned === undefined) return;
    this.fields = fieldsOf(this.wireFields, learned);
    try {
      this.#reader?.readArrays(this.rows, types, learned);
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
      if (error instanceof LakebaseError) return this.#fail(error); // a row that is too long: the rest is ignored
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
    this.wire.sendCopyFail("COPY FROM STDIN is not for a query");
  }

  handleCopyData(): void {
    if (this.#failed) return;
    this.#fail(copyRefused("COPY TO STDOUT", "its bytes would be lost here; select the rows instead"));
    this.onFailed?.();
  }

  /** Takes an error from the server, or from `pg` if the connection broke. */
  handleError(error: unknown, wire: Wire = this.wire): void {
    this.wire ??= wire;
    this.#fail(reasonOf(error, wire));
    if (!isOrdinary(error)) return this.#lose();
    if (this.owesSync) wire.sync();
    this.#whenReady(wire);
  }

  handleReadyForQuery(): void {
    if (!this.owesSync || this.#unsent) return this.finish();
    // The server became ready without a Sync, so its later messages can't be assigned to a statement.
    this.handleError(new Error("the server ended the statement before all its rows were read"));
  }

  /** Waits for the server: `pg` forgets a query at its error, before the server is ready. */
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

  /** Refuses rows in a style that a statement has set and that can't be read. The server reports it only at the end. */
  #checkStyle(): void {
    if (this.#failed || this.wireFields.length === 0) return;
    const error = unreadableStyle(this.wireFields, this.wire.reported, this.#reading.types);
    if (error !== undefined) this.#fail(error);
  }

  /** Refuses a text encoding that the driver does not read; the pool restores the right one. */
  settingReported({ parameterName, parameterValue }: WireStatus): void {
    if (parameterName !== "client_encoding" || parameterValue === "UTF8") return;
    this.#fail(otherEncoding(parameterValue));
  }

  /** Keeps a notice. */
  addNotice({ severity = "NOTICE", message = "", detail, hint }: WireNotice): void {
    if (this.notices.length >= MOST_NOTICES) return;
    this.notices.push({ severity, message, ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) });
  }

  #makeRows(): unknown[] {
    return this.#reading.makeRows?.() ?? [];
  }
}

/** Whether the connection can still be used: it can after an `ERROR`, but not after `FATAL`. */
function isOrdinary(error: unknown): boolean {
  return (error as { severity?: unknown } | null)?.severity === "ERROR";
}

function otherEncoding(found: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot set client_encoding to ${found}: text goes to and from the server in UTF-8, so the setting was undone; for the bytes ` +
      `of another encoding, SELECT convert_to(text, '${found}')`,
  );
}

function copyRefused(what: string, instead: string): LakebaseError {
  return new LakebaseError("QUERY_FAILED", `Cannot run ${what} as a query: ${instead}`, { sqlstate: "0A000" });
}

function unreadable(cause: unknown): LakebaseError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new LakebaseError("QUERY_FAILED", `Cannot read the result: the parser of a type failed: ${said}`, { cause });
}
