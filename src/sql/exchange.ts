import type { EventEmitter } from "node:events";
import { LakebaseError } from "../core/errors.ts";
import type { Learned } from "./learned_types.ts";
import { type Field, fieldsOf, RowReader, type WireField, type WireRow } from "./result.ts";
import { type ParserSource, unreadableStyle } from "./types.ts";

/** Something the server said beside its answer, such as `RAISE NOTICE` does. */
export interface Notice {
  /** `NOTICE`, `WARNING`, `INFO`, ... */
  severity: string;
  /** What it said. */
  message: string;
  /** More of it. */
  detail?: string;
  /** What to do. */
  hint?: string;
}

/** What is used of `pg`'s connection: the messages of the extended query protocol. */
export interface Wire extends EventEmitter {
  /** What the server last reported of the session's settings; there where the pool has made the connection. */
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

/** A loop of RAISE NOTICE is not worth the memory. */
const MOST_NOTICES = 1000;

type WireNotice = Partial<Record<"severity" | "message" | "detail" | "hint", string | undefined>>;

/** Who hears what a connection brings beside answers. */
interface Hearer {
  /** Whose notices they are. */
  exchange: Exchange | undefined;
  /** Why the server ended the session. It says so between two statements as well, where `pg` would lose it. */
  farewell: unknown;
}
interface WireStatus {
  parameterName: string;
  parameterValue: string;
}

/** A connection is listened to once: to do so for each query would cost as much as its rows. */
const hearers = new WeakMap<Wire, Hearer>();

function hearerOf(wire: Wire): Hearer {
  const known = hearers.get(wire);
  if (known !== undefined) return known;
  const hearer: Hearer = { exchange: undefined, farewell: undefined };
  hearers.set(wire, hearer);
  wire.on("notice", (notice: WireNotice) => hearer.exchange?.hear(notice));
  wire.on("errorMessage", (error: { severity?: unknown }) => {
    if (!isOrdinary(error)) hearer.farewell ??= error;
  });
  wire.on("parameterStatus", (status: WireStatus) => hearer.exchange?.hearSetting(status));
  return hearer;
}

/** An error, or where it only tells that the connection has ended, why the server ended it. */
function reasonOf(error: unknown, wire: Wire): unknown {
  const fromServer = (error as { severity?: unknown } | null)?.severity !== undefined;
  return fromServer ? error : hearers.get(wire)?.farewell ?? error;
}

/** How rows are read. */
export interface Reading {
  /** How values become JavaScript's. */
  types: ParserSource;
  /** What else is known of types and tables. */
  learned?: Learned | undefined;
  /** Makes the array that the rows are pushed to. @default {a plain array} */
  makeRows?: (() => unknown[]) | undefined;
}

/**
 * One exchange with the server, from what is sent to its `ReadyForQuery`: as `pg` takes a query. Rows become objects where
 * their message is read, without an array or a promise in between. It has ended only when the server is ready: `pg` itself
 * reports an error before that, when it does not know yet whether a transaction is open.
 */
export abstract class Exchange {
  /** The rows since they were last taken. */
  rows: unknown[];
  /** How many bytes they were on the wire. */
  bytes = 0;
  /** The columns. */
  fields: Field[] = [];
  /** The columns as the wire describes them. */
  wireFields: WireField[] = [];
  /** The last command's tag, whole, such as `INSERT 0 3`. */
  tag = "";
  /** Whether the server has more rows. */
  more = false;
  /** Notices and warnings. */
  readonly notices: Notice[] = [];
  /** Whether the server waits for whoever reads the rows. */
  paused = false;
  /** Whether its connection is of no more use. */
  lost = false;
  /** Called when the outcome is known to be an error, but the server goes on sending. */
  onDoomed: (() => void) | undefined;
  /** Called when its connection is of no more use. */
  onLost: (() => void) | undefined;

  protected wire!: Wire;
  #end = Promise.withResolvers<void>();
  #failure: unknown;
  #failed = false;
  #described = false;
  #reader: RowReader | undefined;
  readonly #reading: Reading;

  /** Made with how rows are read. */
  constructor(reading: Reading) {
    this.#reading = reading;
    this.rows = this.#makeRows();
  }

  /** Settles once the server is ready for more, or gone. */
  get done(): Promise<void> {
    return this.#end.promise;
  }

  /** Sends it; called by `pg` when its turn has come. */
  submit(wire: Wire): null {
    this.wire = wire;
    hearerOf(wire).exchange = this;
    try {
      this.send(wire);
    } catch (error) {
      this.#doom(error);
      wire.sync();
    }
    return null;
  }

  /** What it says to the server. */
  protected abstract send(wire: Wire): void;

  /** Whether the server waits for a `Sync` after an error. */
  protected get owesSync(): boolean {
    return false;
  }

  /** Another exchange under the same name, as a portal's next batch is. */
  protected renew(): void {
    this.#end = Promise.withResolvers();
    this.more = false;
    this.paused = false;
    if (this.#failed) this.#end.reject(this.#failure);
  }

  /** Ends it. */
  protected finish(): void {
    const hearer = hearerOf(this.wire);
    if (hearer.exchange === this) hearer.exchange = undefined; // the next one may be under way already
    this.#checkStyle();
    if (this.#failed) this.#end.reject(this.#failure);
    else this.#end.resolve();
  }

  /** Ends a batch, after which the server waits for us. */
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
    this.rows = this.#makeRows(); // of several statements the last one's are kept
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
      if (error instanceof LakebaseError) return this.#doom(error); // a row that is too long: what follows is let go by
      this.#doom(unreadable(error));
      this.onDoomed?.();
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
    this.#doom(copyRefused("COPY FROM STDIN", "there is nothing to read from here"));
    this.wire.sendCopyFail("COPY FROM STDIN is not for a query");
  }

  handleCopyData(): void {
    if (this.#failed) return;
    this.#doom(copyRefused("COPY TO STDOUT", "its bytes would be lost here; select the rows instead"));
    this.onDoomed?.();
  }

  /** From the server, or from `pg` when the connection broke. */
  handleError(error: unknown, wire: Wire = this.wire): void {
    this.wire ??= wire;
    this.#doom(reasonOf(error, wire));
    if (!isOrdinary(error)) return this.#lose();
    if (this.owesSync) wire.sync();
    this.#whenReady(wire);
  }

  handleReadyForQuery(): void {
    this.finish();
  }

  /** `pg` lets go of a query at its error; the server is ready, or gone, later. */
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

  #doom(error: unknown): void {
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

  /** Rows in a style that can't be read, which a statement has set. Known at the end: only then the server reports it. */
  #checkStyle(): void {
    if (this.#failed || this.wireFields.length === 0) return;
    const error = unreadableStyle(this.wireFields, this.wire.reported, this.#reading.types);
    if (error !== undefined) this.#doom(error);
  }

  /** Refuses a text encoding that the driver does not read; the pool puts the right one back. */
  hearSetting({ parameterName, parameterValue }: WireStatus): void {
    if (parameterName !== "client_encoding" || parameterValue === "UTF8") return;
    this.#doom(otherEncoding(parameterValue));
  }

  /** Keeps a notice. */
  hear({ severity = "NOTICE", message = "", detail, hint }: WireNotice): void {
    if (this.notices.length >= MOST_NOTICES) return;
    this.notices.push({ severity, message, ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) });
  }

  #makeRows(): unknown[] {
    return this.#reading.makeRows?.() ?? [];
  }
}

/** After an `ERROR` the connection goes on; after anything else it does not. */
function isOrdinary(error: unknown): boolean {
  return (error as { severity?: unknown } | null)?.severity === "ERROR";
}

function otherEncoding(found: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot set client_encoding to ${found}: texts go to and from the server in UTF-8, so it was set back; for the bytes of ` +
      `another encoding SELECT convert_to(text, '${found}')`,
  );
}

function copyRefused(what: string, instead: string): LakebaseError {
  return new LakebaseError("QUERY_FAILED", `Cannot run ${what} as a query: ${instead}`, { sqlstate: "0A000" });
}

function unreadable(cause: unknown): LakebaseError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new LakebaseError("QUERY_FAILED", `Cannot read the result: the parser of a type failed: ${said}`, { cause });
}
