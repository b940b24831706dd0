/** What `SET` and its like have made of a session, so that it can be put back after another one has run. */
export interface SessionSettings {
  /** `session_user`. */
  user: string;
  /** What `SET ROLE` chose; `"none"` where it chose nothing. */
  role: string;
  /** Settings that differ from the database's own. */
  values: Map<string, string>;
}

/** Startup parameters that aren't settings of the server. */
const NOT_SETTINGS = new Set(["options", "replication"]);

/** The settings that a client asks for in its startup packet. */
export function startupSettings(parameters: Map<string, string>, readOnly: boolean): Map<string, string> {
  const values = commandLineOptions(parameters.get("options") ?? "");
  for (const [name, value] of parameters) {
    if (!NOT_SETTINGS.has(name) && !name.startsWith("_pq_.")) values.set(name, value);
  }
  if (readOnly) values.set("default_transaction_read_only", "on");
  return values;
}

/** The settings in `-c name=value --name=value`, where a backslash keeps a space in a value. */
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

/** SQL that gives a session its settings, whatever was set before. */
export function settingsScript({ user, role, values }: SessionSettings): string {
  const sets = [...values].map(([name, value]) => setting(name, value));
  return [
    "RESET ALL",
    `SET SESSION AUTHORIZATION ${literal(user)}`,
    `SET ROLE ${role === "none" ? "NONE" : literal(role)}`,
    ...(sets.length ? [`SELECT ${sets.join(", ")}`] : []),
  ].join("; ");
}

/** SQL that sets again, after RESET, what the client asked for in its startup packet. */
export function defaultsScript(values: Map<string, string>): string {
  const rows = [...values].map(([name, value]) => `(${literal(name)}, ${literal(value)})`);
  return `SELECT pg_catalog.set_config(v.name, v.value, false) FROM (VALUES ${rows.join(", ")}) v (name, value)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s
      WHERE s.name OPERATOR(pg_catalog.=) pg_catalog.lower(v.name) AND s.source OPERATOR(pg_catalog.=) 'session')`;
}

/** SQL whose rows are the settings in force, as `readSettings` takes them. */
export const SETTINGS_QUERY = `SELECT 'user', session_user::pg_catalog.text
  UNION ALL SELECT 'role', pg_catalog.current_setting('role')
  UNION ALL SELECT pg_catalog.concat('value ', name), pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
  WHERE source OPERATOR(pg_catalog.=) 'session'`;

/** What the server tells a client at login, as far as it is a setting. */
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

/** SQL whose row has their values. */
export const REPORT_QUERY: string = `SELECT ${
  REPORTED.map((name) => `pg_catalog.current_setting(${literal(name)}, true)`).join(", ")
}`;

/** The settings that the rows of `SETTINGS_QUERY` tell of. */
export function readSettings(rows: (string | null)[][]): SessionSettings {
  const values = new Map(rows.map(([name, value]) => [name ?? "", value ?? ""]));
  const user = values.get("user") ?? "";
  const role = values.get("role") ?? "none";
  const settings = [...values].flatMap(([name, value]): [string, string][] =>
    name.startsWith("value ") ? [[name.slice("value ".length), value]] : []
  );
  return { user, role, values: new Map(settings) };
}

/** An SQL string, whatever the session's `standard_conforming_strings`. */
export function literal(text: string): string {
  return `E'${text.replace(/[\\']/g, "\\$&")}'`;
}

/** An SQL identifier. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function setting(name: string, value: string): string {
  return `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`;
}
