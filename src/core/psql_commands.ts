/** The commands of psql that `%%sql` and `%sql` support, by name. */
export const PSQL_COMMANDS: Readonly<Record<string, { argument?: string; description: string }>> = {
  d: { argument: "[name]", description: "describes a table, \\d+ in detail; without a name, lists tables and views" },
  dt: { argument: "[pattern]", description: "lists tables, views and the like, such as \\dt app.*" },
  dv: { argument: "[pattern]", description: "lists views" },
  di: { argument: "[pattern]", description: "lists indexes" },
  df: { argument: "[pattern]", description: "lists functions and procedures; \\df+ adds their source" },
  dn: { description: "lists the schemas" },
  du: { argument: "[pattern]", description: "lists the roles" },
  l: { argument: "[pattern]", description: "lists the databases" },
  conninfo: { description: "shows the connection" },
  x: { argument: "[on|off]", description: "toggles one line for each value of a row" },
  timing: { description: "says that timing is always on" },
  "?": { description: "lists these commands" },
};

/** The names of the commands, for an error. */
export function commandNames(): string {
  return Object.keys(PSQL_COMMANDS).map((name) => `\\${name}`).join(", ");
}

/** The commands with their arguments, and what they do. */
export function commandRows(): [command: string, description: string][] {
  return Object.entries(PSQL_COMMANDS).map(([name, { argument, description }]) => [
    `\\${name}${argument === undefined ? "" : ` ${argument}`}`,
    description,
  ]);
}
