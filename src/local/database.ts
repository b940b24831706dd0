import type { Connection } from "./connection.ts";

/** A login that was accepted. */
export interface Login {
  role: string;
  database: string;
  /** The client's own startup parameters, without `user` and `database`. */
  parameters: Map<string, string>;
  readOnly: boolean;
}

/** The database behind the Postgres port. */
export interface Database {
  /** Whether a role of this name exists. */
  hasRole(role: string): Promise<boolean>;

  /**
   * Serves a session from its AuthenticationOk to its end.
   *
   * @param onReady Is called when the session is ready for its first query.
   * @throws {Refused} If the session cannot begin, or the database ends it.
   */
  serve(client: Connection, login: Login, onReady: () => void): Promise<void>;

  /** Cancels the running statement of the session with this key, if possible. */
  cancel(process: number, secret: Uint8Array): void | Promise<void>;

  /**
   * Makes a new database with the current data, without the changes of transactions that are still open.
   *
   * @throws {ApiError} If the data can't be copied now.
   */
  copy(): Promise<Database>;

  /** Size of the data in bytes; `undefined` if it can't be measured now. */
  size(): Promise<number | undefined>;

  /** Lets the process end while the database runs. */
  unref(): void;

  /** Ends every session, and frees the database's resources. The data of a copy are dropped. */
  close(): Promise<void>;
}

/** The database that every new Lakebase project has. */
export const DEFAULT_DATABASE = "databricks_postgres";
