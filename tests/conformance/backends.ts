import type { LocalLakebase, LocalOptions } from "../../src/local/mod.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { type Missing, requires } from "../support/requirements.ts";
import { sharedGateway, sharedPGlite } from "../support/shared_servers.ts";

/** The parts of a test of another author's client. */
export interface ConformanceTest {
  local: LocalLakebase;
  backend: "PGlite" | "PostgreSQL";
  /** Runs a program that finds the local Lakebase only through its environment. Rejects if the program fails. */
  program: (command: string, ...args: string[]) => Promise<string>;
}

export interface ConformanceOptions {
  /** The reason why the test can't run here. */
  needs?: Missing[];
  /** Why PGlite cannot run the test. */
  notOnPglite?: string;
}

/** The limits are long enough for a busy machine, because no test here is about them. */
const OPTIONS: LocalOptions = {
  handshakeTimeout: 300_000,
  lockTimeout: 300_000,
  warehouses: [{ name: "Serverless Starter Warehouse", chunkRows: 1000 }],
};

/** Tests another author's client with PGlite and with a real PostgreSQL. */
export function conformanceTest(
  name: string,
  run: (test: ConformanceTest) => Promise<void>,
  { needs = [], notOnPglite }: ConformanceOptions = {},
): void {
  const embedded = requires(`${name} [PGlite${notOnPglite === undefined ? "" : `: ${notOnPglite}`}]`, ...needs);
  register({ ...embedded, ignore: embedded.ignore || notOnPglite !== undefined }, async () => {
    const local = await sharedPGlite(OPTIONS, name); // empty for each test
    await run({ local, backend: "PGlite", program: programOn(local) });
  });
  register(requires(`${name} [PostgreSQL]`, postgresMissing, ...needs), async () => {
    const local = await sharedGateway(OPTIONS, CLUSTER, name);
    await run({ local, backend: "PostgreSQL", program: programOn(local) });
  });
}

function register(test: { name: string; ignore: boolean }, fn: () => Promise<void>): void {
  Deno.test({ ...test, sanitizeOps: false, sanitizeResources: false, fn });
}

/** Runs programs whose environment names a local Lakebase. */
export function programOn({ env }: LocalLakebase): ConformanceTest["program"] {
  return async (command, ...args) => {
    const { success, stdout, stderr } = await new Deno.Command(command, { args, env, stdin: "null" }).output();
    const text = new TextDecoder().decode(stdout);
    if (!success) throw new Error(`${command} ${args.join(" ")} failed:\n${text}${new TextDecoder().decode(stderr)}`);
    return text;
  };
}

/** The path of a client's program beside this file. */
export function clientScript(name: string): string {
  return decodeURIComponent(new URL(`./clients/${name}`, import.meta.url).pathname);
}
