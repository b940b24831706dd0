import type { ConnectOptions, Lakebase, Query } from "../../mod.ts";

/** The options of `connect()` for a PostgreSQL that a benchmark has started. */
export function benchLogin(port: number): ConnectOptions {
  return {
    host: "127.0.0.1",
    port,
    user: "postgres",
    database: "postgres",
    password: "bench",
    max: 2,
    sslMode: "disable",
  };
}

/** Makes a table `trips` of six columns, with its statistics. */
export async function makeTrips(db: Lakebase, rows: number): Promise<void> {
  await db
    .sql`CREATE TABLE trips AS SELECT n::int AS id, 'zone ' || n % 265 AS zone, (n % 5000 / 100.0)::numeric(10, 2) AS fare,
    '2026-01-01Z'::timestamptz + n * interval '30 s' AS started, n / 7.0::float8 AS miles, n % 2 = 0 AS paid
    FROM generate_series(1, ${rows}) n`;
  await db.sql`VACUUM ANALYZE trips`;
}

/** A query with rows of six columns: int, timestamptz, float8, numeric(10, 2), text and bool. */
export function sixColumns({ sql }: Lakebase, rows: number): Query {
  return sql`SELECT n::int AS id, now() + n * interval '1 s' AS at, n / 7.0::float8 AS f,
    (n / 3.0)::numeric(10, 2) AS fare, 'zone ' || n AS zone, n % 2 = 0 AS paid FROM generate_series(1, ${rows}) n`;
}
