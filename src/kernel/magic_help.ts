import { FLAGS } from "./magic_header.ts";

const FLAG_LINES = Object.entries(FLAGS).map(([name, { value, about }]) =>
  `  ${`--${name}${value === undefined ? "" : ` ${value}`}`.padEnd(14)} ${about}`
).join("\n");

/** What `%%sql?` prints. */
export const SQL_HELP = `%%sql [connection] [name <<] [flags] runs the SQL of a cell and draws its rows

  %%sql
  SELECT zone, count(*) FROM trips WHERE fare > \${least} GROUP BY zone

  %%sql rows <<          keeps the result as the variable rows
  %%sql db2              runs it on the connection that the variable db2 holds
  const n = %sql SELECT count(*) FROM trips      SQL to the end of the line, within code

\${expression} is a value from the notebook and always a bound parameter, never text; \\\${ stands for the characters.
Without a connection it runs on the one that was opened last, or connects as connect() does. Of several statements all run,
as one transaction unless BEGIN or COMMIT is among them, and the last one's rows are drawn.

Flags, before the SQL
${FLAG_LINES}

In place of SQL
  \\d             lists the tables               \\d trips     describes a table
  \\dt app.*      lists the tables of a schema   \\dn          lists the schemas
`;

/** What `%lsmagic` prints. */
export const MAGICS = `%%sql        a cell of SQL; %%sql? tells more
%sql         SQL to the end of a line, in a cell of TypeScript
%lsmagic     this list
`;
