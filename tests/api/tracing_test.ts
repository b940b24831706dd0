import assert from "node:assert/strict";
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "npm:@opentelemetry/context-async-hooks@2.0.0";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "npm:@opentelemetry/sdk-trace-base@2.0.0";
import { connect, type Lakebase, lakehouse } from "../../mod.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { LOCKED } from "../support/files.ts";
import { optionsOf, ownLakebase, prepareOwnLakebase, workspaceOf } from "../support/lakebase.ts";
import { errorOf } from "../support/queries.ts";

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

/** A value that every statement contains, and no span may contain. */
const SECRET = "Bob's secret";

/** Runs work while spans are recorded, and returns the ended spans that are not inside others. */
async function spansOf(work: () => Promise<unknown>): Promise<ReadableSpan[]> {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  try {
    await work();
  } finally {
    trace.disable();
    context.disable();
  }
  const spans = exporter.getFinishedSpans();
  exporter.reset();
  const json = JSON.stringify(
    spans.map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
  );
  assert.doesNotMatch(json, /secret|Bob/);
  for (const { kind, attributes } of spans) {
    assert.equal(kind, SpanKind.CLIENT);
    assert.equal(attributes["db.query.text"], undefined);
  }
  return spans.filter((span) => span.parentSpanContext === undefined);
}

const one = async (work: () => Promise<unknown>) => {
  const spans = await spansOf(work);
  assert.deepEqual(spans.length, 1, spans.map(({ name }) => name).join("; "));
  return spans[0]!;
};

prepareOwnLakebase();

interface Server extends AsyncDisposable {
  local: LocalLakebase;
  db: Lakebase;
  /** The attributes of each span. */
  place: Record<string, unknown>;
}

async function open(): Promise<Server> {
  const local = await ownLakebase({ warehouses: [{ name: "small" }] });
  const db = await connect(optionsOf(local));
  await db.sql`CREATE TABLE trips AS SELECT n AS id, 'Bob''s secret' AS name FROM generate_series(1, 10) n`;
  const place = {
    "db.system.name": "postgresql",
    "db.namespace": "databricks_postgres",
    "server.address": local.env["PGHOST"],
    "server.port": Number(local.env["PGPORT"]),
  };
  return {
    local,
    db,
    place,
    async [Symbol.asyncDispose]() {
      await db.close();
      await local.close();
    },
  };
}

Deno.test("spans have the names and attributes of the conventions for databases, and no value", async (t) => {
  await using server = await open();
  const { local, db, place } = server;
  const file = await Deno.makeTempFile({ suffix: ".csv" });
  const query = () => db.sql`SELECT id FROM trips WHERE name = ${SECRET} AND name = 'Bob''s secret' LIMIT 3`;
  const selected = { ...place, "db.operation.name": "SELECT", "db.query.summary": "SELECT trips" };

  const cases: [what: string, name: string, attributes: Record<string, unknown>, work: () => Promise<unknown>][] = [
    ["a query", "SELECT trips", selected, async () => await query()],
    ["query()", "SELECT trips", selected, () => db.query("SELECT * FROM trips WHERE name = $1", [SECRET])],
    ["a loop over its rows", "SELECT trips", selected, async () => {
      for await (const _ of query());
    }],
    ["a loop that is left", "SELECT trips", { ...place, "db.query.summary": "SELECT trips" }, async () => {
      for await (const _ of db.sql`SELECT * FROM trips`) break;
    }],
    [
      "its columns",
      "SELECT trips",
      { ...place, "db.query.summary": "SELECT trips" },
      async () => void await query().columns(),
    ],
    ["a statement that writes", "INSERT trips", {
      ...place,
      "db.operation.name": "INSERT",
      "db.query.summary": "INSERT trips",
    }, async () => await db.sql`INSERT INTO trips VALUES (11, ${SECRET})`],
    ["in a transaction", "SELECT trips", selected, () => db.transaction(async () => void await query())],
    ["a pull of a table", "pull trips", {
      ...place,
      "db.operation.name": "pull",
      "db.collection.name": "trips",
    }, () => db.pull("trips", file, { progress: false })],
    ["a pull of a query", "pull databricks_postgres", {
      ...place,
      "db.operation.name": "pull",
      "db.query.summary": "SELECT trips",
    }, () => query().pull(file, { progress: false })],
    ["a load", "load public.trips", {
      ...place,
      "db.operation.name": "load",
      "db.collection.name": "public.trips",
    }, () => db.load("public.trips", [{ id: 12, name: SECRET }], { progress: false })],
    ["another connection", "connect databricks_postgres", { ...place, "db.operation.name": "connect" }, async () => {
      await (await connect({ ...optionsOf(local), readOnly: true })).close();
    }],
  ];
  for (const [what, name, attributes, work] of cases) {
    await t.step(what, async () => {
      const span = await one(work);
      assert.deepEqual([span.name, span.attributes], [name, attributes]);
      assert.equal(span.status.code, SpanStatusCode.UNSET);
    });
  }
  await Deno.remove(file);
});

Deno.test("the span of a failure has the SQLSTATE or the error's code, but not the message", async (t) => {
  await using server = await open();
  const { local, db, place } = server;
  await db.sql`CREATE UNIQUE INDEX trips_name ON trips (id, name)`;
  const cases: [name: string, attributes: Record<string, unknown>, work: () => Promise<unknown>][] = [
    ["INSERT trips", {
      ...place,
      "db.query.summary": "INSERT trips",
      "db.response.status_code": "23505",
      "error.type": "23505",
    }, async () => await db.sql`INSERT INTO trips VALUES (1, ${SECRET})`],
    ["SELECT gone", {
      ...place,
      "db.query.summary": "SELECT gone",
      "db.response.status_code": "42P01",
      "error.type": "42P01",
    }, async () => {
      for await (const _ of db.sql`SELECT ${SECRET} FROM gone`);
    }],
    [
      "databricks_postgres",
      { ...place, "db.response.status_code": "42601", "error.type": "42601" },
      () => db.query("Bob"),
    ],
    [
      "pull databricks_postgres",
      { ...place, "db.operation.name": "pull", "error.type": "BAD_PARAMETER" },
      () => db.pull("SELECT * FROM trips WHERE name = 'Bob'", "/tmp/never.csv"),
    ],
    ["load trips", {
      ...place,
      "db.operation.name": "load",
      "db.collection.name": "trips",
      "db.response.status_code": "23505",
      "error.type": "23505",
    }, () => db.load("trips", [{ id: 1, name: SECRET }], { progress: false })],
    ["connect databricks_postgres", {
      ...place,
      "db.operation.name": "connect",
      "error.type": "UNREACHABLE",
      "server.port": 1,
    }, () => connect({ ...optionsOf(local), port: 1, connectTimeout: 30 })],
    [
      "SELECT trips",
      { ...place, "db.query.summary": "SELECT trips", "error.type": "CANCELED" },
      async () => await db.sql`SELECT pg_sleep(60), name FROM trips`.with({ timeout: 0.05 }),
    ],
  ];
  for (const [name, attributes, work] of cases) {
    await t.step(`${name} ${attributes["error.type"]}`, async () => {
      const span = await one(() => errorOf(work()));
      assert.deepEqual([span.name, span.attributes], [name, attributes]);
      assert.deepEqual(span.status, { code: SpanStatusCode.ERROR });
      assert.deepEqual(span.events, []);
    });
  }
});

Deno.test("a statement in a warehouse has a span of Databricks", async () => {
  await using server = await open();
  const { local } = server;
  const house = await lakehouse({ workspace: workspaceOf(local) });
  const { hostname, port } = new URL(local.env["DATABRICKS_HOST"]!);
  const place = { "db.system.name": "databricks", "server.address": hostname, "server.port": Number(port) };
  const span = await one(async () => await house.sql`SELECT id, ${SECRET} AS name FROM trips`);
  assert.deepEqual([span.name, span.attributes], ["SELECT trips", { ...place, "db.query.summary": "SELECT trips" }]);
  const failed = await one(() => errorOf(house.sql`SELECT ${SECRET} FROM gone`));
  assert.equal(failed.status.code, SpanStatusCode.ERROR);
  assert.equal(failed.attributes["error.type"], failed.attributes["db.response.status_code"]);
});

Deno.test("spans are children of the surrounding span, and the statements of a load are inside its span", async () => {
  await using server = await open();
  const { db } = server;
  let spans: ReadableSpan[] = [];
  await spansOf(async () => {
    await trace.getTracer("test").startActiveSpan("job", { kind: SpanKind.CLIENT }, async (job) => {
      await db.sql`SELECT * FROM trips`;
      await db.load("trips", [{ id: 13, name: "Ann" }], { progress: false });
      job.end();
    });
    spans = exporter.getFinishedSpans();
  });
  const of = (name: string) => spans.find((span) => span.name === name)!;
  const parentOf = (span: ReadableSpan) =>
    spans.find((one) => one.spanContext().spanId === span.parentSpanContext?.spanId)?.name;
  assert.equal(parentOf(of("SELECT trips")), "job");
  assert.equal(parentOf(of("load trips")), "job");
  const looked = spans.filter((span) => parentOf(span) === "load trips");
  assert.ok(looked.length > 0 && looked.every(({ name }) => name.startsWith("SELECT")), looked.join());
});

/** A receiver of OTLP in JSON, and the spans that it received. */
function receiver(): { url: string; spans: ExportedSpan[]; stop: () => Promise<void> } {
  const spans: ExportedSpan[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const body = await request.json();
    if (request.url.endsWith("/v1/traces")) {
      for (const { scopeSpans } of body.resourceSpans) {
        for (const { scope, spans: some } of scopeSpans) {
          for (const span of some) spans.push({ ...span, scope: scope.name });
        }
      }
    }
    return Response.json({});
  });
  return { url: `http://127.0.0.1:${server.addr.port}`, spans, stop: () => server.shutdown() };
}

interface ExportedSpan {
  scope: string;
  name: string;
  kind: number;
  attributes: { key: string; value: { stringValue?: string; intValue?: number | string; doubleValue?: number } }[];
}

const SCRIPT = `
import { connect } from ${JSON.stringify(import.meta.resolve("../../mod.ts"))};
const db = await connect();
const rows = await db.sql\`SELECT id FROM trips WHERE name = ${"${"}"Bob's secret"}\`;
console.log(rows.length, Symbol.for("opentelemetry.js.api.1") in globalThis);
await db.close();
`;

/** Runs a script that connects and queries, with the variables of a local Lakebase. */
async function runScript({ local }: Server, env: Record<string, string>): Promise<string> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(script, SCRIPT);
  const ca = await Deno.makeTempFile({ suffix: ".pem" });
  await Deno.writeTextFile(ca, local.ca);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...LOCKED, script],
    env: { ...local.env, PGSSLROOTCERT: ca, NO_COLOR: "1", ...env },
  }).output();
  await Deno.remove(script);
  await Deno.remove(ca);
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("(slow) Deno's own OpenTelemetry exports the spans, and without it there are none", async () => {
  await using server = await open();
  const { url, spans, stop } = receiver();
  const exporting = { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" };
  assert.equal(await runScript(server, exporting), "10 false\n");
  assert.equal(spans.length, 0);
  assert.equal(await runScript(server, { ...exporting, OTEL_DENO: "true" }), "10 true\n");
  await stop();
  const moduleSpans = spans.filter(({ scope }) => scope === "@lakebase/deno");
  assert.deepEqual(moduleSpans.map(({ name }) => name).toSorted(), ["SELECT trips", "connect databricks_postgres"]);
  const CLIENT = 3; // OTLP counts from 1, with 0 for unspecified
  assert.deepEqual(moduleSpans.map(({ kind }) => kind), [CLIENT, CLIENT]);
  const query = moduleSpans.find(({ name }) => name === "SELECT trips")!;
  const attributes = Object.fromEntries(
    query.attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue ?? value.doubleValue)]),
  );
  assert.deepEqual(attributes, { ...server.place, "db.operation.name": "SELECT", "db.query.summary": "SELECT trips" });
  assert.doesNotMatch(JSON.stringify(spans), /secret|Bob/);
});
