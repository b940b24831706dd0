import assert from "node:assert/strict";

// In a process of its own, for a test's own memory is that of every test that runs beside it.
const SCRIPT = `
  import pg from "pg";
  import { startLocal } from "lakebase/local";
  import { connect } from "${import.meta.resolve("./client.ts")}";
  const local = await startLocal();
  const connected = await connect(local);
  await connected.query("SELECT repeat('x', 10000) FROM generate_series(1, 500)");
  let bytes = 0;
  let growth = 0;
  const { stream } = connected.connection;
  const query = new pg.Query("SELECT repeat('x', 10000) AS x FROM generate_series(1, 30000)");
  query.on("row", ({ x }) => {
    if (bytes === 0) {
      // Nobody reads for a while: whoever sends has to wait, not to heap up.
      stream.pause();
      const before = Deno.memoryUsage().rss;
      setTimeout(() => {
        growth = Deno.memoryUsage().rss - before;
        stream.resume();
      }, 1000);
    }
    bytes += x.length;
  });
  const done = new Promise((resolve) => query.on("end", resolve));
  connected.query(query);
  await done;
  await connected.end();
  await local.close();
  console.log(JSON.stringify({ bytes, growth: peak - before }));
`;

Deno.test("a result of 300 MB is sent at the pace of who reads it", async () => {
  const root = new URL("../../", import.meta.url);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", "--no-check", "--config", new URL("deno.json", root).pathname, SCRIPT],
    cwd: root,
  }).output();
  const output = new TextDecoder().decode(stdout);
  assert(output, new TextDecoder().decode(stderr));
  const { bytes, growth } = JSON.parse(output);
  assert.equal(bytes, 300_000_000);
  assert(growth < 100_000_000, `${growth / 1e6} MB more`);
});
