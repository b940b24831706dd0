import type { Connection } from "./connection.ts";

/** A login that has been let in. */
export interface Login {
  role: string;
  database: string;
  /** The client's own startup parameters, without `user` and `database`. */
  parameters: Map<string, string>;
  readOnly: boolean;
}

/** What stands behind the Postgres port. */
export interface Database {
  /** Whether there is a role of that name. */
  hasRole(role: string): Promise<boolean>;

  /**
   * Serves a session from its AuthenticationOk to its end.
   *
   * @param onReady Called once the session is ready for its first query.
   * @throws {Refused} Where the session can't begin, or is ended by the database.
   */
  serve(client: Connection, login: Login, onReady: () => void): Promise<void>;

  /** Cancels what a session runs, as far as it can be; the key is the one that the session was given. */
  cancel(process: number, secret: Uint8Array): void | Promise<void>;

  /** Lets the process end while the database runs. */
  unref(): void;

  /** Ends every session and the database's own resources. */
  close(): Promise<void>;
}

/** The database that every Lakebase project begins with. */
export const DEFAULT_DATABASE = "databricks_postgres";
