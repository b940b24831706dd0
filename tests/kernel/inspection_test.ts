import assert from "node:assert/strict";
import { inspectSql } from "../../src/kernel/inspection.ts";
import { CATALOGUE } from "./catalogue.ts";

/** Looks at where `|` stands. */
function inspect(marked: string): string | undefined {
  const [before = "", after = ""] = marked.split("|");
  return inspectSql(before + after, [...before].length, CATALOGUE)?.["text/plain"];
}

const TRIPS = "table public.trips\n  id    integer not null\n  zone  text\n  fare  numeric(8,2)";

const CASES: [marked: string, shown: string | undefined][] = [
  ["%%sql\nSELECT * FROM tri|ps", TRIPS],
  ["%%sql\nSELECT * FROM trips|", TRIPS],
  ["%%sql\nSELECT t|.fare FROM trips t", TRIPS],
  ["%%sql\nSELECT * FROM app.us|ers", "view app.users\n  email  text not null\n  age    integer"],
  ['%%sql\nSELECT * FROM "Odd| Name"', "partitioned table public.Odd Name\n  Id    integer\n  user  text"],
  ["%%sql\nSELECT fa|re FROM trips", "public.trips.fare numeric(8,2)"],
  ["%%sql\nSELECT t.i|d FROM trips t", "public.trips.id integer not null"],
  ['%%sql\nSELECT i|d FROM trips JOIN "order" o ON true', "public.trips.id integer not null\npublic.order.id integer"],
  ["%%sql\nWITH w AS (SELECT zone AS z FROM trips) SELECT * FROM |w", "w\n  z"],
  ["%%sql\nSELECT cou|nt(*) FROM trips", 'pg_catalog.count("any") → bigint'],
  ["%%sql\nSELECT app.fare|_of(1)", "app.fare_of(id integer) → numeric"],
  ["%%sql\nCALL my_|proc(1)", "public.my_proc(IN a integer)"],
  ["const a = %sql SELECT * FROM tr|ips", TRIPS],
  ["%%sql\nSEL|ECT 1", undefined],
  ["%%sql\nSELECT nob|ody", undefined],
  ["%%sql\nSELECT 'tri|ps'", undefined],
  ["tri|ps", undefined],
];

Deno.test("inspectSql() shows tables, columns and functions", () => {
  for (const [marked, shown] of CASES) assert.equal(inspect(marked), shown, marked);
});
