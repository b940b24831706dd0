/** The commands of psql that `%%sql` and `%sql` support, by name: the argument, and what the command does. */
export const SQL_COMMANDS: Readonly<Record<string, { argument?: string; about: string }>> = {
  d: { argument: "[name]", about: "describes a table, \\d+ in detail; without a name, lists tables and views" },
  dt: { argument: "[pattern]", about: "lists tables, views and the like, such as \\dt app.*" },
  dv: { argument: "[pattern]", about: "lists views" },
  di: { argument: "[pattern]", about: "lists indexes" },
  df: { argument: "[pattern]", about: "lists functions and procedures; \\df+ adds their source" },
  dn: { about: "lists the schemas" },
  du: { argument: "[pattern]", about: "lists the roles" },
  l: { argument: "[pattern]", about: "lists the databases" },
  conninfo: { about: "shows the connection" },
  x: { argument: "[on|off]", about: "toggles one line for each value of a row" },
  timing: { about: "says that each result shows its time" },
  "?": { about: "lists these commands" },
};

/** The list of the commands for an error. */
export function commandNames(): string {
  return Object.keys(SQL_COMMANDS).map((name) => `\\${name}`).join(", ");
}

/** The commands with their arguments, and what they do. */
export function commandRows(): [command: string, about: string][] {
  return Object.entries(SQL_COMMANDS).map(([name, { argument, about }]) => [
    `\\${name}${argument === undefined ? "" : ` ${argument}`}`,
    about,
  ]);
}
