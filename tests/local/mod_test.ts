import assert from "node:assert/strict";
import type pg from "pg";
import { startLocal } from "lakebase/local";
import { freePort } from "../support/port.ts";
import { connect, firstRow, mint } from "./client.ts";
import { ownLakebase, pgliteTests, prepareOwnLakebase } from "../support/lakebase.ts";
import { LOCKED } from "../support/files.ts";

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function refusesConnections(port: string | undefined): Promise<boolean> {
  return await Deno.connect({ hostname: "127.0.0.1", port: Number(port) }).then(
    (connection) => (connection.close(), false),
    () => true,
  );
}

/** Free ports that the system does not soon assign to others. */
function ports(): { workspacePort: number; postgresPort: number } {
  return { workspacePort: freePort(), postgresPort: freePort() };
}

prepareOwnLakebase();

Deno.test("close() leaves no file, no port and no connection, and may be called twice", async () => {
  const local = await ownLakebase(ports());
  const { env } = local;
  assert.equal(env["PGSSLMODE"], "require");
  assert.equal(await Deno.readTextFile(env["PGSSLROOTCERT"]!), local.ca);
  const client = await connect(local);
  const ended = new Promise<Partial<pg.DatabaseError>>((resolve) => client.once("error", resolve));
  await local.close();
  await local.close();
  assert.equal((await ended).code, "57P01");
  assert.equal(await exists(env["PGSSLROOTCERT"]!), false);
  assert(await refusesConnections(env["PGPORT"]));
  assert(await refusesConnections(new URL(env["DATABRICKS_HOST"]!).port));
});

Deno.test("close() does not wait for a running query", async () => {
  const local = await startLocal();
  const client = await connect(local);
  const query = assert.rejects(client.query("SELECT count(*) FROM generate_series(1, 1e15)"));
  await mint(local); // once another call is answered, the query has arrived
  await local.close();
  await query;
});

Deno.test("the signal closes the local Lakebase", async () => {
  const stop = new AbortController();
  const local = await ownLakebase({ ...ports(), signal: stop.signal });
  stop.abort();
  await local.close();
  assert(await refusesConnections(local.env["PGPORT"]));
  await assert.rejects(startLocal({ signal: AbortSignal.abort() }), { name: "AbortError" });
});

Deno.test("(slow) a folder keeps each committed row of a process that was killed, and can be used again at once", async () => {
  const home = await Deno.makeTempDir();
  const module = new URL("../../mod.ts", import.meta.url).href;
  const script = `import { connect } from ${JSON.stringify(module)};
    const db = await connect({ local: { dataDir: ${JSON.stringify(`${home}/data`)} } });
    await db.query("CREATE TABLE written AS SELECT 1 AS n");
    for (let n = 2;; n++) { await db.query("INSERT INTO written VALUES ($1)", [n]); console.log(n); }`;
  const args = ["eval", ...LOCKED, "--ext=ts", script];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "inherit" }).spawn();
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    if (output.includes("\n20\n")) child.kill("SIGKILL");
  }
  await child.status;
  const last = Number(output.slice(0, output.lastIndexOf("\n")).split("\n").at(-1));
  await using local = await startLocal({ dataDir: `${home}/data` });
  const client = await connect(local);
  const [count] = await firstRow(client, "SELECT count(*)::int FROM written");
  assert.ok(count === last || count === last + 1, `${count} rows, and ${last} were reported`);
  await client.end();
  await local.close();
  await Deno.remove(home, { recursive: true });
});

Deno.test("(slow) a folder is used by one Lakebase at a time, and a folder with other files is refused", async () => {
  const home = await Deno.makeTempDir();
  const dataDir = `${home}/new/data`;
  const incomplete = `${home}/incomplete`; // as after a first start that was killed
  await Deno.mkdir(`${incomplete}/base`, { recursive: true });
  await Deno.writeTextFile(`${incomplete}/lakebase.lock`, "starting");
  await Deno.writeTextFile(`${incomplete}/PG_VERSION`, "18");
  await (await startLocal({ dataDir: incomplete })).close();
  await (await startLocal({ dataDir: incomplete })).close(); // now it is complete
  {
    await using _ = await startLocal({ dataDir });
    await assert.rejects(startLocal({ dataDir }), /new\/data": another local Lakebase uses it; end that one/);
  }
  await Deno.mkdir(`${home}/other`);
  await Deno.writeTextFile(`${home}/other/mine.txt`, "");
  await assert.rejects(startLocal({ dataDir: `${home}/other` }), /it holds "mine.txt" and no database/);
  assert.deepEqual([...Deno.readDirSync(`${home}/other`)].map(({ name }) => name), ["mine.txt"]);
  await assert.rejects(startLocal({ dataDir: `${home}/other/mine.txt` }), /it is not a folder; name a folder/);
  await Deno.remove(home, { recursive: true });
});

Deno.test("dataDir keeps the data and the roles from one run to the next", async () => {
  const home = await Deno.makeTempDir();
  const dataDir = `${home}/data`;
  {
    await using local = await startLocal({ dataDir });
    const client = await connect(local);
    await client.query("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)");
    await client.end();
  }
  {
    await using local = await startLocal({ dataDir, user: "other@example.com" });
    const client = await connect(local);
    assert.deepEqual(
      await firstRow(
        client,
        "SELECT current_database(), current_user, pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'kept'",
      ),
      [
        "databricks_postgres",
        "other@example.com",
        "you@example.com",
      ],
    );
    await client.end();
  }
  await Deno.remove(home, { recursive: true });
});

// A worker that is terminated during its start may leave a call of the runtime open, which the leak detector reports.
Deno.test({ name: "startLocal() rejects if a port is in use", sanitizeOps: false }, async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const name of ["postgresPort", "workspacePort"]) {
    await assert.rejects(ownLakebase({ [name]: taken.addr.port }), /in use/i);
  }
  taken.close();
});

pgliteTests()("timers of the host fire while a query runs", async ({ local }) => {
  const client = await connect(local);
  let running = true;
  const query = client.query("SELECT count(*) FROM generate_series(1, 1e15)").finally(() => running = false);
  const canceled = assert.rejects(query, { code: "57P01" });
  for (let ticks = 0; ticks < 20; ticks++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert(running);
  local.faults.suspend();
  await canceled;
  local.faults.reset();
  assert.equal((await mint(local)).split(".").length, 3);
});
