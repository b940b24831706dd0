/** An unattended job. Its argument is the file to pull to. */

import { connect } from "../../mod.ts";

await using db = await connect();
const { rows } = await db.pull(
  db.sql`SELECT n, 'zone ' || n AS zone FROM generate_series(1, 1000) AS n`,
  Deno.args[0]!,
);
// deno-lint-ignore no-console -- what the test looks for
console.log(rows, await db.version());
