import process from "node:process";
import { connect } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
await using server = await startPostgres({ password: "bench" });
await using db = await connect({
  host: "127.0.0.1",
  port: server.port,
  user: "postgres",
  database: "postgres",
  password: "bench",
  sslMode: "disable",
});
await db.sql`CREATE TABLE copy (id int, at timestamptz, f float8, fare numeric(10,2), zone text, paid bool)`;
for (let k = 0; k < 5; k++) {
  for (const f of ["csv", "parquet", "arrow"]) {
    await db.sql`TRUNCATE copy`;
    const t = performance.now();
    const c0 = process.cpuUsage();
    await db.load("copy", `/tmp/b.${f}`);
    const c = process.cpuUsage(c0);
    console.log(f, (performance.now() - t).toFixed(0), "cpu", (c.user / 1000).toFixed(0), (c.system / 1000).toFixed(0));
  }
}
