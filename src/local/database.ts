import type { Connection } from "./connection.ts";

/** A login that was accepted. */
export interface Login {
  role: string;
  database: string;
  /** The client's startup parameters other than `user` and `database`. */
  parameters: Map<string, string>;
  readOnly: boolean;
}

/** The database behind the Postgres port: the embedded one, or a separate Postgres server. */
export interface Database {
  /** Whether a role of this name exists. */
  hasRole(role: string): Promise<boolean>;

  /**
   * Serves a session, from AuthenticationOk until the session ends.
   *
   * @param onReady Called when the session is ready for its first query.
   * @throws {PostgresError} If the session cannot begin, or the database ends it.
   */
  serve(client: Connection, login: Login, onReady: () => void): Promise<void>;

  /** Cancels the statement that runs in the session with this key, if possible. */
  cancel(process: number, secret: Uint8Array): void | Promise<void>;

  /**
   * Creates a database with a copy of the committed data.
   *
   * @throws {ApiError} If the data can't be copied now.
   */
  copy(): Promise<Database>;

  /** Size of the data in bytes; `undefined` if it can't be measured now. */
  size(): Promise<number | undefined>;

  /** Lets the process end while the database runs. */
  unref(): void;

  /** Ends every session, and frees the database's resources. Closing a copy drops its data. */
  close(): Promise<void>;
}

/** The database that every new Lakebase project has. */
export const DEFAULT_DATABASE = "databricks_postgres";

/** The settings of a session. They are restored for each of its turns, because all sessions share one backend. */
export interface SessionSettings {
  /** `session_user`. */
  user: string;
  /** The role of `SET ROLE`, or `"none"`. */
  role: string;
  /** The settings that the session has changed. */
  values: Map<string, string>;
}

/** Startup parameters that are not settings of the server. */
const NOT_SETTINGS = new Set(["options", "replication"]);

/** The settings that a client requests in its startup packet. */
export function startupSettings(parameters: Map<string, string>, readOnly: boolean): Map<string, string> {
  const values = commandLineOptions(parameters.get("options") ?? "");
  for (const [name, value] of parameters) {
    if (!NOT_SETTINGS.has(name) && !name.startsWith("_pq_.")) values.set(name, value);
  }
  if (readOnly) values.set("default_transaction_read_only", "on");
  return values;
}

/**
 * SQL that reads a role's settings, those of `ALTER DATABASE ... SET` and `ALTER ROLE ... SET`, as `name=value`. A later
 * row overrides an earlier one.
 */
export function roleSettingsQuery(role: string): string {
  return `SELECT pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s
    LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
    WHERE (s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR r.rolname OPERATOR(pg_catalog.=) ${quoteLiteral(role)})
      AND (s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
    ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0::pg_catalog.oid, s.setdatabase OPERATOR(pg_catalog.<>) 0::pg_catalog.oid`;
}

/** Parses the rows of {@linkcode roleSettingsQuery}. */
export function readRoleSettings(rows: readonly (string | null | undefined)[]): Map<string, string> {
  return new Map(rows.map((row) => {
    const setting = row ?? "";
    const end = setting.indexOf("=");
    return [setting.slice(0, end).toLowerCase(), setting.slice(end + 1)];
  }));
}

/** A role's settings, overridden by those of a startup packet. */
export function mergeSettings(
  roleSettings: ReadonlyMap<string, string>,
  startup: ReadonlyMap<string, string>,
): Map<string, string> {
  const values = new Map(roleSettings);
  for (const name of startup.keys()) values.delete(name.toLowerCase());
  return new Map([...values, ...startup]);
}

/** Parses the settings in `-c name=value --name=value`. A backslash escapes a space. */
export function commandLineOptions(options: string): Map<string, string> {
  const words = (options.match(/(?:\\.|\S)+/g) ?? []).map((word) => word.replace(/\\(.)/g, "$1"));
  const values = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i] === "-c" ? words[++i] ?? "" : (words[i] ?? "").replace(/^(--|-c)/, "");
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(word) ?? [];
    if (name !== undefined) values.set(name.replaceAll("-", "_"), value ?? "");
  }
  return values;
}

/** SQL that sets a session's settings and resets all others. */
export function settingsScript({ user, role, values }: SessionSettings): string {
  const sets = [...values].map(([name, value]) => setConfig(name, value));
  return [
    "RESET ALL",
    `SET SESSION AUTHORIZATION ${quoteLiteral(user)}`,
    `SET ROLE ${role === "none" ? "NONE" : quoteLiteral(role)}`,
    ...(sets.length ? [`SELECT ${sets.join(", ")}`] : []),
  ].join("; ");
}

/** SQL that restores a session's default settings after RESET. */
export function defaultsScript(values: Map<string, string>): string {
  const rows = [...values].map(([name, value]) => `(${quoteLiteral(name)}, ${quoteLiteral(value)})`);
  return `SELECT pg_catalog.set_config(v.name, v.value, false) FROM (VALUES ${rows.join(", ")}) v (name, value)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s
      WHERE s.name OPERATOR(pg_catalog.=) pg_catalog.lower(v.name) AND s.source OPERATOR(pg_catalog.=) 'session')`;
}

/**
 * SQL that reads the settings in force. {@linkcode readSettings} parses its rows.
 *
 * @param custom The names of custom settings such as `app.tenant`, because `pg_settings` does not list them.
 */
export function settingsQuery(custom: readonly string[]): string {
  if (custom.length === 0) return LISTED_QUERY;
  // A custom setting that was reset is empty, as if it had never been set.
  return `${LISTED_QUERY}
    UNION ALL SELECT pg_catalog.concat('value ', o.name), pg_catalog.current_setting(o.name, true)
    FROM pg_catalog.unnest(ARRAY[${custom.map(quoteLiteral).join(", ")}]) o (name)
    WHERE pg_catalog.length(pg_catalog.current_setting(o.name, true)) OPERATOR(pg_catalog.>) 0
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) o.name)`;
}

const LISTED_QUERY = `SELECT 'user', session_user::pg_catalog.text
  UNION ALL SELECT 'role', pg_catalog.current_setting('role')
  UNION ALL SELECT pg_catalog.concat('value ', name), pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
  WHERE source OPERATOR(pg_catalog.=) 'session'`;

/** The settings that the server reports in ParameterStatus. */
export const REPORTED: readonly string[] = [
  "application_name",
  "client_encoding",
  "DateStyle",
  "default_transaction_read_only",
  "in_hot_standby",
  "integer_datetimes",
  "IntervalStyle",
  "is_superuser",
  "scram_iterations",
  "search_path",
  "server_encoding",
  "server_version",
  "session_authorization",
  "standard_conforming_strings",
  "TimeZone",
];

/** SQL that reads the values of {@linkcode REPORTED} in one row. */
export const REPORT_QUERY: string = `SELECT ${
  REPORTED.map((name) => `pg_catalog.current_setting(${quoteLiteral(name)}, true)`).join(", ")
}`;

/** Parses the rows of {@linkcode settingsQuery}. */
export function readSettings(rows: (string | null)[][]): SessionSettings {
  const values = new Map(rows.map(([name, value]) => [name ?? "", value ?? ""]));
  const user = values.get("user") ?? "";
  const role = values.get("role") ?? "none";
  const settings = [...values].flatMap(([name, value]): [string, string][] =>
    name.startsWith("value ") ? [[name.slice("value ".length), value]] : []
  );
  return { user, role, values: new Map(settings) };
}

/** A text as an SQL literal, which is valid with any `standard_conforming_strings`. */
export function quoteLiteral(text: string): string {
  return `E'${text.replace(/[\\']/g, "\\$&")}'`;
}

function setConfig(name: string, value: string): string {
  return `pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`;
}
