import assert from "node:assert/strict";
import { LOCKED, ROOT } from "../support/files.ts";

// In a separate process, because this process's memory includes that of concurrent tests. It uses Deno's own TLS, which
// reads only on demand: a paused `node:tls` client continues to read, and collects what it reads.
const SCRIPT = `
  import { startLocal } from "lakebase/local";
  import { mint } from "${import.meta.resolve("./client.ts")}";
  import { cstring, frame, Framer, int32, query, messageType } from "${
  import.meta.resolve("../../src/local/messages.ts")
}";
  const local = await startLocal();
  const plain = await Deno.connect({ hostname: "127.0.0.1", port: Number(local.env.PGPORT) });
  await plain.write(new Uint8Array([...int32(8), ...int32(80877103)]));
  await plain.read(new Uint8Array(1));
  const tls = await Deno.startTls(plain, { hostname: "localhost", caCerts: [local.ca] });
  const framer = new Framer();
  const buffer = new Uint8Array(1 << 16);
  const until = async (expected) => {
    let bytes = 0;
    for (;;) {
      for (let next = framer.next(); next; next = framer.next()) {
        bytes += next.length;
        if (messageType(next) === expected) return bytes;
      }
      framer.push(buffer.slice(0, await tls.read(buffer) ?? 0));
    }
  };
  const parameters = cstring("user\\0you@example.com\\0");
  await tls.write(new Uint8Array([...int32(8 + parameters.length), ...int32(196608), ...parameters]));
  await until("R");
  await tls.write(frame("p", cstring(await mint(local))));
  await until("Z");
  const sql = "SELECT repeat('x', 10000) FROM generate_series(1, 30000)";
  await tls.write(query("SELECT repeat('x', 10000) FROM generate_series(1, 1000)"));
  await until("Z");
  const before = Deno.memoryUsage().rss;
  await tls.write(query(sql));
  // A server that does not wait for its client has sent everything within a second.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const growth = Deno.memoryUsage().rss - before;
  const bytes = await until("Z");
  tls.close();
  await local.close();
  console.log(JSON.stringify({ bytes, growth }));
`;

const ENDLESS = `
  import process from "node:process";
  import { connect } from "lakebase";
  const db = await connect({ local: true });
  /** The seconds of processor time that this process uses in a second. */
  const load = async () => {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e6;
  };
  db.query("SELECT count(*) FROM generate_series(1, 1e12)").catch(() => {});
  while (await load() < 0.1); // it has begun to count
  await db.close();
  let busy = await load();
  for (let seconds = 0; busy > 0.05 && seconds < 60; seconds++) busy = await load();
  console.log(JSON.stringify({ busy }));
`;

async function run(script: string): Promise<Record<string, number>> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", "--no-check", ...LOCKED, script],
    cwd: ROOT,
  }).output();
  const output = new TextDecoder().decode(stdout);
  assert(output, new TextDecoder().decode(stderr));
  return JSON.parse(output);
}

Deno.test("(slow) a query that runs when the database ends takes no more processor time", async () => {
  const { busy } = await run(ENDLESS);
  assert(busy! <= 0.05, `${busy} s of one second`);
});

Deno.test("(slow) a result of 300 MB waits for a client that does not read it, and does not fill the memory", async () => {
  const { bytes, growth } = await run(SCRIPT);
  assert(bytes! > 300_000_000, `${bytes} bytes`);
  assert(growth! < 60_000_000, `${growth! / 1e6} MB more`);
});
