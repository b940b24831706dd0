import type { Socket } from "node:net";
import { duplexPair } from "node:stream";
import { concatBytes } from "../../core/bytes.ts";
import { Connection } from "../connection.ts";
import type { Database, Login } from "../database.ts";
import {
  cstring,
  errorResponse,
  failureFields,
  type Frame,
  frame,
  Framer,
  int32,
  messageType,
  query,
  readCString,
  readFields,
  readRow,
} from "../messages.ts";

/** A column in a RowDescription message. */
export interface DescribedColumn {
  name: string;
  /** The oid of the type. */
  oid: number;
  /** `atttypmod`; -1 for none. */
  modifier: number;
}

/** An error of the database, from its ErrorResponse. */
export class DatabaseError extends Error {
  readonly sqlstate: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** The position of the error in the SQL, in characters from 1. */
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
 * `pg` would not do: it decodes every value as UTF-8, which destroys values in binary format. It has one format for all
 * columns of a result. And it can't end a statement between two batches of rows.
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
    // A duplex stream has everything that a Connection uses of a socket.
    const [clientEnd, serverEnd] = duplexPair() as unknown as [Socket, Socket];
    this.#connection = new Connection(clientEnd);
    this.#server = new Connection(serverEnd);
    database.serve(this.#server, login, () => {})
      .catch((error) => this.#server.write(errorResponse(failureFields(error, "the local database failed"), "FATAL")))
      .finally(() => serverEnd.end());
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
        if (messageType(message) === "K") client.#key = { process: int32At(message, 5), secret: message.slice(9) };
      });
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Runs a query of the warehouse itself, and returns its rows as texts. */
  async query(sql: string): Promise<(string | null)[][]> {
    const rows: (string | null)[][] = [];
    await this.#connection.write(query(sql));
    await this.#untilReady((message) => {
      if (messageType(message) === "D") rows.push(readRow(message));
    });
    return rows;
  }

  /**
   * Prepares a statement. Returns the columns of its result; `undefined` if it has no result.
   *
   * @param types The oids of the types of its parameters.
   */
  async prepare(sql: string, types: readonly number[]): Promise<DescribedColumn[] | undefined> {
    const parse = frame("P", STATEMENT, cstring(sql), int16(types.length), ...types.map(int32));
    let columns: DescribedColumn[] | undefined;
    await this.#connection.write(concatBytes([parse, frame("D", encodeText("S"), STATEMENT), SYNC]));
    await this.#untilReady((message) => {
      if (messageType(message) === "T") columns = readColumns(message);
    });
    return columns;
  }

  /**
   * Runs the prepared statement.
   *
   * @param values The parameters as texts.
   * @param formats The format of each column's values: 1 for binary, 0 for text.
   * @param onRow Receives each DataRow. If it returns false, the statement ends.
   * @returns The command's tag; `undefined` if `onRow` has ended the statement.
   */
  async execute(
    values: readonly (string | null)[],
    formats: readonly (0 | 1)[],
    onRow: (row: Frame) => boolean | Promise<boolean>,
  ): Promise<string | undefined> {
    const bind = frame(
      "B",
      PORTAL,
      STATEMENT,
      int16(0),
      int16(values.length),
      ...values.map(encodeValue),
      ...encodeFormats(formats),
    );
    let batch = FIRST_BATCH;
    await this.#connection.write(concatBytes([bind, executeMessage(batch), FLUSH]));
    let tag: string | undefined;
    let copiesOut = false;
    let empty = false;
    while (!empty) {
      const message = this.#framer.next() ?? await this.#next(); // awaits only if it must: there may be millions of rows
      const kind = messageType(message);
      if (kind === "D") {
        const continues = onRow(message);
        if (!(continues === true || continues !== false && await continues)) break;
      } else if (kind === "s") {
        batch = Math.min(10 * batch, LAST_BATCH);
        await this.#connection.write(concatBytes([executeMessage(batch), FLUSH]));
      } else if (kind === "G") await this.#connection.write(frame("f", cstring("a warehouse has no COPY FROM STDIN")));
      else if (kind === "E") await this.#fail(message);
      else if (kind === "H") copiesOut = true;
      else if (kind === "I") empty = true;
      else if (kind === "C") {
        tag = readCString(message, 5).text;
        break;
      }
    }
    await this.#connection.write(SYNC);
    await this.#untilReady(() => {});
    if (empty) throw new DatabaseError({ C: "42617", M: "the statement is empty" });
    if (copiesOut) throw new DatabaseError({ C: "0A000", M: "a warehouse has no COPY TO STDOUT" });
    return tag;
  }

  /** Cancels the running statement. */
  async cancel(): Promise<void> {
    if (this.#key !== undefined) await this.#database.cancel(this.#key.process, this.#key.secret);
  }

  /**
   * Ends the session and its statement, without waiting: the database ends a session in a turn, and the session that has
   * the turn may be waiting for this statement.
   */
  close(): void {
    // Closing one end of the pair does not close the other one.
    this.#connection.destroy();
    this.#server.destroy();
  }

  async #untilReady(onMessage: (message: Frame) => void): Promise<void> {
    let failure: DatabaseError | undefined;
    for (let message = await this.#next(); messageType(message) !== "Z"; message = await this.#next()) {
      if (messageType(message) === "E") failure ??= new DatabaseError(readFields(message));
      else onMessage(message);
      if (failure !== undefined && readFields(message)["S"] === "FATAL") throw failure;
    }
    if (failure !== undefined) throw failure;
  }

  /** Ends the failed statement, and throws its error. */
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

// The number of rows that the database sends for an Execute message. It is small at first, because rows may be large.
const FIRST_BATCH = 10;
const LAST_BATCH = 10_000;

function executeMessage(rows: number): Frame {
  return frame("E", PORTAL, int32(rows));
}

function int16(number: number): Uint8Array {
  return new Uint8Array([number >> 8, number & 0xff]);
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function encodeValue(text: string | null): Uint8Array {
  if (text === null) return int32(-1);
  const bytes = encodeText(text);
  return concatBytes([int32(bytes.length), bytes]);
}

function encodeFormats(formats: readonly number[]): Uint8Array[] {
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
