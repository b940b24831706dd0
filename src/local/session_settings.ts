/** The settings of a session, which are restored after another session has run. */
export interface SessionSettings {
  /** `session_user`. */
  user: string;
  /** The role of `SET ROLE`, or `"none"`. */
  role: string;
  /** Settings that the session has set. */
  values: Map<string, string>;
}

/** Startup parameters that are not server settings. */
const NOT_SETTINGS = new Set(["options", "replication"]);

/** The settings in a client's startup packet. */
export function startupSettings(parameters: Map<string, string>, readOnly: boolean): Map<string, string> {
  const values = commandLineOptions(parameters.get("options") ?? "");
  for (const [name, value] of parameters) {
    if (!NOT_SETTINGS.has(name) && !name.startsWith("_pq_.")) values.set(name, value);
  }
  if (readOnly) values.set("default_transaction_read_only", "on");
  return values;
}

/**
 * SQL for the settings that `ALTER DATABASE ... SET` and `ALTER ROLE ... SET` keep for a role, as `name=value`. A later
 * setting overrides an earlier one.
 */
export function roleSettingsQuery(role: string): string {
  return `SELECT pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s
    LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
    WHERE (s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR r.rolname OPERATOR(pg_catalog.=) ${literal(role)})
      AND (s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
    ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0::pg_catalog.oid, s.setdatabase OPERATOR(pg_catalog.<>) 0::pg_catalog.oid`;
}

/** Reads the rows of {@linkcode roleSettingsQuery}. */
export function readRoleSettings(rows: readonly (string | null | undefined)[]): Map<string, string> {
  return new Map(rows.map((row = "") => {
    const text = row ?? "";
    const end = text.indexOf("=");
    return [text.slice(0, end).toLowerCase(), text.slice(end + 1)];
  }));
}

/** The settings of a startup packet, merged over those that are kept for its role. */
export function mergeSettings(
  kept: ReadonlyMap<string, string>,
  startup: ReadonlyMap<string, string>,
): Map<string, string> {
  const values = new Map(kept);
  for (const name of startup.keys()) values.delete(name.toLowerCase());
  return new Map([...values, ...startup]);
}

/** The settings in `-c name=value --name=value`. A backslash escapes a space. */
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
    `SET SESSION AUTHORIZATION ${literal(user)}`,
    `SET ROLE ${role === "none" ? "NONE" : literal(role)}`,
    ...(sets.length ? [`SELECT ${sets.join(", ")}`] : []),
  ].join("; ");
}

/** SQL that restores the settings of the startup packet after RESET. */
export function defaultsScript(values: Map<string, string>): string {
  const rows = [...values].map(([name, value]) => `(${literal(name)}, ${literal(value)})`);
  return `SELECT pg_catalog.set_config(v.name, v.value, false) FROM (VALUES ${rows.join(", ")}) v (name, value)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s
      WHERE s.name OPERATOR(pg_catalog.=) pg_catalog.lower(v.name) AND s.source OPERATOR(pg_catalog.=) 'session')`;
}

/**
 * SQL for the settings in force. {@linkcode readSettings} reads its rows.
 *
 * @param own The names of settings that `pg_settings` does not list.
 */
export function settingsQuery(own: readonly string[]): string {
  if (own.length === 0) return LISTED_QUERY;
  // A custom setting that was reset is empty, as if it had never been set.
  return `${LISTED_QUERY}
    UNION ALL SELECT pg_catalog.concat('value ', o.name), pg_catalog.current_setting(o.name, true)
    FROM pg_catalog.unnest(ARRAY[${own.map(literal).join(", ")}]) o (name)
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

/** SQL for a row with the values of {@linkcode REPORTED}. */
export const REPORT_QUERY: string = `SELECT ${
  REPORTED.map((name) => `pg_catalog.current_setting(${literal(name)}, true)`).join(", ")
}`;

/** Reads the rows of {@linkcode settingsQuery}. */
export function readSettings(rows: (string | null)[][]): SessionSettings {
  const values = new Map(rows.map(([name, value]) => [name ?? "", value ?? ""]));
  const user = values.get("user") ?? "";
  const role = values.get("role") ?? "none";
  const settings = [...values].flatMap(([name, value]): [string, string][] =>
    name.startsWith("value ") ? [[name.slice("value ".length), value]] : []
  );
  return { user, role, values: new Map(settings) };
}

/** An SQL string that is valid with any `standard_conforming_strings`. */
export function literal(text: string): string {
  return `E'${text.replace(/[\\']/g, "\\$&")}'`;
}

function setConfig(name: string, value: string): string {
  return `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`;
}
