// deno-lint-ignore-file no-console
// Connects to a local Lakebase, runs queries and pulls a table. The connection takes every step that it takes with a
// workspace: settings, workspace API, OAuth credential, DNS, TLS with SNI, login, pool.
// With a workspace, call `connect()` without options.
import { connect } from "lakebase";

await using db = await connect({ local: true });

console.log(await db.version());
console.log(db);

await db.transaction(async (tx) => {
  await tx.query("CREATE TABLE trips (zone text, fare numeric(8, 2), at timestamptz)");
  await tx.query("INSERT INTO trips VALUES ($1, $2, now()), ($3, $4, now())", ["Harlem", 12.5, "SoHo", 8]);
});
const trips = await db.query<{ zone: string; fare: string }>("SELECT * FROM trips WHERE fare > $1", [10]);
console.log(`${trips.length} of the trips cost more than 10:`, trips[0]);

const file = await Deno.makeTempFile({ suffix: ".csv" });
console.log(`${await db.pull("trips", file)}\n${await Deno.readTextFile(file)}`);
await Deno.remove(file);
