import type { LocalLakebase } from "../../src/local/mod.ts";
import type { PostgresServer } from "../../tests/support/postgres.ts";
import type { Random } from "../../tests/support/random.ts";

/** Causes a fault. `faults.reset()` ends it. */
export type CauseFault = (local: LocalLakebase, random: Random, server: PostgresServer) => void | Promise<void>;

/** The faults by name. */
export const FAULTS: readonly (readonly [name: string, cause: CauseFault])[] = [
  ["workspace slow", ({ faults }, random) => void (faults.latency = 100 + random.below(1900))],
  [
    "workspace status",
    ({ faults }, random) => faults.workspace("*", { status: random.one([401, 403, 429, 500, 503]) }),
  ],
  ["workspace Retry-After", ({ faults }) => faults.workspace("POST *", { status: 429, retryAfter: 1, times: 2 })],
  ["workspace HTML", ({ faults }) => faults.workspace("*", { body: "<html>" })],
  ["workspace cut off", ({ faults }, random) => faults.workspace("*", { answer: random.one(["reset", "truncated"]) })],
  ["clock", ({ faults }, random) => void (faults.clockOffset = random.one([-600_000, 600_000]))],
  ["tokens expired", ({ faults }) => {
    faults.expireTokens();
    faults.dropConnections();
  }],
  ["login refused", ({ faults }) => faults.failLogins({ times: 2 })],
  ["connections dropped", ({ faults }) => faults.dropConnections()],
  ["suspended", ({ faults }, random) => {
    faults.suspend({ wakeAfter: 100 + random.below(2900), refuse: random.one(["hold", "28000", "reset", "close"]) });
  }],
  ["black hole", ({ faults }) => void (faults.blackhole = true)],
  ["full", (local) => {
    local.faults.maxConnections = 2;
    local.faults.dropConnections();
  }],
  ["bad certificate", ({ faults }, random) => {
    faults.certificate = random.one(["expired", "wrong-name", "self-signed"]);
    faults.dropConnections();
  }],
  ["no Postgres there", ({ faults }, random) => {
    faults.greeting = random.one(["http", "close", "reset"]);
    faults.dropConnections();
  }],
  ["server restarted", async (_local, _random, server) => await server.restart()],
];
