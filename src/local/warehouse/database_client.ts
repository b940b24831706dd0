import type { Socket } from "node:net";
import { duplexPair } from "node:stream";
import { concatBytes } from "../../core/bytes.ts";
import { Connection } from "../connection.ts";
import type { Database, Login } from "../database.ts";
import {
  cstring,
  errorResponse,
  failureOf,
  type Frame,
  frame,
  Framer,
  int32,
  query,
  readCString,
  readFields,
  readRow,
  type,
} from "../messages.ts";

/** A column as Postgres describes it. */
export interface DescribedColumn {
  name: string;
  oid: number;
  /** `atttypmod`; -1 for none. */
  modifier: number;
}

/** An error of Postgres. */
export class DatabaseError extends Error {
  readonly sqlstate: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** The position of the error in the text that was sent, in characters, from 1. */
  readonly position: number | undefined;

  constructor({ C: sqlstate = "XX000", M: message = "", D: detail, H: hint, P: position }: Record<string, string>) {
    super(message);
    this.name = "DatabaseError";
    this.sqlstate = sqlstate;
    this.detail = detail;
    this.hint = hint;
    this.position = position === undefined ? undefined : Number(position);
  }
}

const STATEMENT = cstring("warehouse");
const PORTAL = cstring("");
const SYNC = frame("S");
const FLUSH = frame("H");

/**
 * A client of the local database in the same process, which needs neither a login nor a port.
 *
 * It does not use `pg`, which `upstream.ts` uses to log in to a server. `pg` decodes every value of a row as UTF-8,
 * which destroys values in binary format; it has one format for all columns of a result; and it can't end a statement
 * between two batches of rows.
 */
export class DatabaseClient {
  readonly #database: Database;
  readonly #connection: Connection;
  /** The other end of the connection. */
  readonly #server: Connection;
  readonly #framer = new Framer();
  #key: { process: number; secret: Uint8Array } | undefined;

  private constructor(database: Database, login: Login) {
    this.#database = database;
    // A duplex stream has all that a Connection uses of a socket.
    const [near, far] = duplexPair() as unknown as [Socket, Socket];
    this.#connection = new Connection(near);
    this.#server = new Connection(far);
    database.serve(this.#server, login, () => {})
      .catch((error) => this.#server.write(errorResponse(failureOf(error, "the local database failed"), "FATAL")))
      .finally(() => far.end());
  }

  /**
   * Opens a session.
   *
   * @throws {DatabaseError} If the database refuses it.
   */
  static async open(database: Database, login: Login): Promise<DatabaseClient> {
    const client = new DatabaseClient(database, login);
    try {
      await client.#untilReady((message) => {
        if (type(message) === "K") client.#key = { process: int32At(message, 5), secret: message.slice(9) };
      });
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Runs a query for the server itself, and returns its rows as texts. */
  async query(sql: string): Promise<(string | null)[][]> {
    const rows: (string | null)[][] = [];
    await this.#connection.write(query(sql));
    await this.#untilReady((message) => {
      if (type(message) === "D") rows.push(readRow(message));
    });
    return rows;
  }

  /**
   * Prepares a statement whose parameters have these types. Returns the columns of its result; `undefined` if it has no
   * result.
   */
  async prepare(sql: string, types: readonly number[]): Promise<DescribedColumn[] | undefined> {
    const parse = frame("P", STATEMENT, cstring(sql), int16(types.length), ...types.map(int32));
    let columns: DescribedColumn[] | undefined;
    await this.#connection.write(concatBytes([parse, frame("D", encodeText("S"), STATEMENT), SYNC]));
    await this.#untilReady((message) => {
      if (type(message) === "T") columns = readColumns(message);
    });
    return columns;
  }

  /**
   * Runs the prepared statement. It ends when `onRow` returns false, or after the last row.
   *
   * @param values The parameters as texts.
   * @param formats 1 for each column whose values are in binary format.
   * @param onRow Receives each DataRow. The statement waits for a promise that it returns.
   * @returns The command's tag; undefined if `onRow` ended the statement.
   */
  async execute(
    values: readonly (string | null)[],
    formats: readonly (0 | 1)[],
    onRow: (row: Frame) => boolean | Promise<boolean>,
  ): Promise<string | undefined> {
    const bind = frame("B", PORTAL, STATEMENT, int16(0), int16(values.length), ...values.map(value), ...list(formats));
    let most = FIRST_BATCH;
    await this.#connection.write(concatBytes([bind, executeOf(most), FLUSH]));
    let tag: string | undefined;
    let copies = false;
    let empty = false;
    while (!empty) {
      const message = this.#framer.next() ?? await this.#next(); // waits only if it must: there may be millions of rows
      const kind = type(message);
      if (kind === "D") {
        const goesOn = onRow(message);
        if (!(goesOn === true || goesOn !== false && await goesOn)) break;
      } else if (kind === "s") {
        most = Math.min(10 * most, LAST_BATCH);
        await this.#connection.write(concatBytes([executeOf(most), FLUSH]));
      } else if (kind === "G") await this.#connection.write(frame("f", cstring("a warehouse has no COPY FROM STDIN")));
      else if (kind === "E") await this.#fail(message);
      else if (kind === "H") copies = true;
      else if (kind === "I") empty = true;
      else if (kind === "C") {
        tag = readCString(message, 5).text;
        break;
      }
    }
    await this.#connection.write(SYNC);
    await this.#untilReady(() => {});
    if (empty) throw new DatabaseError({ C: "42617", M: "the statement is empty" });
    if (copies) throw new DatabaseError({ C: "0A000", M: "a warehouse has no COPY TO STDOUT" });
    return tag;
  }

  /** Cancels the running statement. */
  async cancel(): Promise<void> {
    if (this.#key !== undefined) await this.#database.cancel(this.#key.process, this.#key.secret);
  }

  /**
   * Ends the session, and anything that runs in it. It does not wait: the database ends a session in its turn, and whoever holds
   * the turn may wait for the statement.
   */
  close(): void {
    // Closing one end of the pair does not close the other.
    this.#connection.destroy();
    this.#server.destroy();
  }

  async #untilReady(onMessage: (message: Frame) => void): Promise<void> {
    let failure: DatabaseError | undefined;
    for (let message = await this.#next(); type(message) !== "Z"; message = await this.#next()) {
      if (type(message) === "E") failure ??= new DatabaseError(readFields(message));
      else onMessage(message);
      if (failure !== undefined && readFields(message)["S"] === "FATAL") throw failure;
    }
    if (failure !== undefined) throw failure;
  }

  /** Ends the failed statement. */
  async #fail(message: Frame): Promise<never> {
    const failure = new DatabaseError(readFields(message));
    if (readFields(message)["S"] === "FATAL") throw failure;
    await this.#connection.write(SYNC);
    await this.#untilReady(() => {});
    throw failure;
  }

  async #next(): Promise<Frame> {
    for (;;) {
      const message = this.#framer.next();
      if (message !== undefined) return message;
      const chunk = await this.#connection.read();
      if (chunk === undefined) throw new DatabaseError({ C: "57P02", M: "the database has closed the session" });
      this.#framer.push(chunk);
    }
  }
}

/**
 * The number of rows that the database sends before it waits for a request for more. It is small at first, because rows
 * may be large.
 */
const FIRST_BATCH = 10;
const LAST_BATCH = 10_000;

function executeOf(most: number): Frame {
  return frame("E", PORTAL, int32(most));
}

function int16(number: number): Uint8Array {
  return new Uint8Array([number >> 8, number & 0xff]);
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function value(text: string | null): Uint8Array {
  if (text === null) return int32(-1);
  const bytes = encodeText(text);
  return concatBytes([int32(bytes.length), bytes]);
}

function list(formats: readonly number[]): Uint8Array[] {
  return [int16(formats.length), ...formats.map(int16)];
}

function int32At(message: Frame, at: number): number {
  return new DataView(message.buffer, message.byteOffset + at, 4).getInt32(0);
}

function readColumns(message: Frame): DescribedColumn[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const columns: DescribedColumn[] = [];
  let at = 7;
  for (let count = view.getInt16(5); count > 0; count--) {
    const { text: name, next } = readCString(message, at);
    columns.push({ name, oid: view.getUint32(next + 6), modifier: view.getInt32(next + 12) });
    at = next + 18;
  }
  return columns;
}
