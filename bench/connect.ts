// Compares the cost of connecting with the cost of the code that a user would write instead. Run with `deno run -A bench/connect.ts`.
// deno-lint-ignore-file no-console

// @ts-types="@types/pg"
import pg from "pg";
import { connect } from "../mod.ts";
import { type LocalLakebase, startLocal } from "../src/local/mod.ts";
import { optionsOf, workspaceOf } from "../tests/support/lakebase.ts";
import { median, timed } from "./support/timing.ts";

const LATENCY_MS = 100;

await using local = await startLocal();
await firstConnect(local);
await firstQueries(local);
await selectOne(local);
await importTime();

async function firstConnect(local: LocalLakebase): Promise<void> {
  const { host: _, user: __, ...options } = optionsOf(local); // the workspace gives both
  const ours: number[] = [];
  const sequential: number[] = [];
  const login: number[] = [];
  for (let round = 0; round < 7; round++) {
    local.faults.latency = LATENCY_MS;
    ours.push(await timed(async () => await (await connect(options)).close()));
    sequential.push(await timed(() => oneAfterTheOther(local)));
    local.faults.latency = 0;
    login.push(await timed(async () => await (await connect(options)).close()));
  }
  console.log(`first connect(), ${LATENCY_MS} ms injected into each workspace call (median of 7)`);
  console.log(`  connect()                 ${median(ours).toFixed(0)} ms`);
  console.log(`  three calls in a row, pg  ${median(sequential).toFixed(0)} ms`);
  console.log(`  connect() without latency ${median(login).toFixed(0)} ms`);
  console.log(`  round trips waited for    ${((median(ours) - median(login)) / LATENCY_MS).toFixed(2)} (at most 1)`);
}

/** The steps of the manual's example: find the endpoint, mint a token, ask for the user, log in. */
async function oneAfterTheOther(local: LocalLakebase): Promise<void> {
  const { config } = workspaceOf(local);
  const request = async (method: string, path: string, body?: unknown) => {
    const headers = new Headers({ "content-type": "application/json" });
    await config.authenticate(headers);
    const url = new URL(path, await config.getHost());
    const answer = await fetch(url, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
    return await answer.json();
  };
  const endpoint = local.env["LAKEBASE_ENDPOINT"]!;
  const { status } = await request("GET", `/api/2.0/postgres/${endpoint}`);
  const { token } = await request("POST", "/api/2.0/postgres/credentials", { endpoint });
  const { userName } = await request("GET", "/api/2.0/preview/scim/v2/Me");
  const client = new pg.Client({
    host: status.hosts.host,
    port: Number(local.env["PGPORT"]),
    user: userName,
    password: token,
    database: "databricks_postgres",
    ssl: { ca: local.ca },
  });
  await client.connect();
  await client.end();
}

async function firstQueries(local: LocalLakebase): Promise<void> {
  const before = local.requests.length;
  await using db = await connect(optionsOf(local));
  await Promise.all(Array.from({ length: 200 }, () => db.query("SELECT 1")));
  const minted = local.requests.slice(before).filter(({ path }) => path.endsWith("/credentials")).length;
  console.log(`\n200 first queries at once: ${minted} credential call`);
}

async function selectOne(local: LocalLakebase): Promise<void> {
  await using db = await connect(optionsOf(local));
  const { pool } = db;
  const raw = new pg.Pool(
    { ...(pool.options as pg.PoolConfig), Client: pg.Client, password: await token(local) } as pg.PoolConfig,
  );
  const rounds = { ours: [] as number[], raw: [] as number[] };
  for (let round = 0; round < 15; round++) {
    rounds.raw.push(await perCall(() => raw.query("SELECT 1")));
    rounds.ours.push(await perCall(() => db.query("SELECT 1")));
  }
  await raw.end();
  const [ours, theirs] = [median(rounds.ours), median(rounds.raw)];
  console.log(`\nSELECT 1 on the embedded database over TLS (median of 15 rounds of 200)`);
  console.log(`  db.query  ${(ours * 1000).toFixed(0)} us\n  pg.Pool   ${(theirs * 1000).toFixed(0)} us`);
  console.log(`  ratio     ${(ours / theirs).toFixed(2)} (at most 1.1)`);
}

async function token(local: LocalLakebase): Promise<string> {
  const answer = await fetch(new URL("/api/2.0/postgres/credentials", local.env["DATABRICKS_HOST"]), {
    method: "POST",
    headers: { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}`, "content-type": "application/json" },
    body: JSON.stringify({ endpoint: local.env["LAKEBASE_ENDPOINT"] }),
  });
  return (await answer.json()).token;
}

async function importTime(): Promise<void> {
  const script = `const started = performance.now();
    await import("${import.meta.resolve("../mod.ts")}");
    console.log(performance.now() - started);`;
  const times: number[] = [];
  for (let round = 0; round < 9; round++) {
    const args = ["eval", `--config=${new URL("../deno.json", import.meta.url).pathname}`, script];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
    times.push(Number(new TextDecoder().decode(stdout)));
  }
  console.log(`\nimport "mod.ts", warm: ${median(times).toFixed(0)} ms (median of 9; under 100)`);
}

async function perCall(work: () => Promise<unknown>): Promise<number> {
  return await timed(async () => {
    for (let n = 0; n < 200; n++) await work();
  }) / 200;
}
