// deno-lint-ignore-file no-console
// What you would show a colleague, on a Lakebase on this machine. The connection takes every step that it takes with a
// workspace: settings, workspace API, OAuth credential, DNS, TLS with SNI, login, pool.
import { connect, show, sql } from "lakebase";

await using db = await connect({ local: true });
console.log((await db.version()).split(" on ")[0], "on this machine");
await sql`CREATE TABLE trips AS SELECT n AS id, (ARRAY['Harlem', 'SoHo'])[1 + n % 2] AS zone, n * 1.25 AS fare
  FROM generate_series(1, 99) AS n`;

title("A value in a query is a bound parameter, and the result draws itself: WHERE fare > ${least}");
const least = 100;
await show(sql`SELECT zone, count(*) AS trips, sum(fare) AS fares FROM trips WHERE fare > ${least} GROUP BY zone`);

title("An error points at its place, and says what to do");
await sql`SELECT id, zon FROM trips`.catch((error) => console.log((error as Error).message));

title("A pull writes a table or a query to a file, as fast as the server sends it");
const folder = await Deno.makeTempDir();
console.log(`${await db.pull("trips", `${folder}/trips.csv`)}; it begins:`);
console.log((await Deno.readTextFile(`${folder}/trips.csv`)).split("\n").slice(0, 3).join("\n"));
await Deno.remove(folder, { recursive: true });

title("Next");
console.log(`a notebook:      deno jupyter --install && jupyter lab notebooks/quickstart.ipynb
your workspace:  databricks auth login --host https://<workspace>, then connect() without { local: true }
everything else: README.md and docs/`);

function title(text: string): void {
  console.log(`\n%c${text}`, "font-weight: bold");
}
