import { connect, type Lakebase } from "../../mod.ts";
import { startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "./lakebase.ts";
import { alsoOnPGlite, postgresMissing, startPostgres } from "./postgres.ts";
import { requires } from "./requirements.ts";

/** Two databases, like a branch and its parent. */
export interface TwoDatabases {
  before: Lakebase;
  after: Lakebase;
  /** Runs statements on both, one after another. */
  onBoth: (...statements: string[]) => Promise<void>;
}

async function onPGlite(stack: AsyncDisposableStack): Promise<[Lakebase, Lakebase]> {
  const one = async () => {
    const local = stack.use(await startLocal());
    return stack.use(await connect(optionsOf(local)));
  };
  return [await one(), await one()];
}

async function onPostgres(stack: AsyncDisposableStack): Promise<[Lakebase, Lakebase]> {
  const server = stack.use(await startPostgres({ password: "owner-secret" }));
  const login = { host: "127.0.0.1", port: server.port, user: "postgres", password: "owner-secret" };
  const one = async (database: string) => stack.use(await connect({ ...login, database, sslMode: "disable" }));
  const before = await one("postgres");
  await before.query("CREATE DATABASE copy TEMPLATE template0");
  return [before, await one("copy")];
}

/** Makes `test()` for a file whose tests share two databases, of PGlite and of PostgreSQL. */
export function twoDatabasesTests(): (name: string, run: (two: TwoDatabases) => Promise<void>) => void {
  const engines = [["PGlite", onPGlite], ["PostgreSQL", onPostgres]] as const;
  const tests = engines.map(([engine, start]) => {
    const stack = new AsyncDisposableStack();
    let databases: Promise<[Lakebase, Lakebase]> | undefined;
    Deno.test.afterAll(() => stack.disposeAsync());
    return (name: string, run: (two: TwoDatabases) => Promise<void>) =>
      Deno.test({
        ...(engine === "PGlite"
          ? { name: alsoOnPGlite(`${name} [PGlite]`) }
          : requires(`${name} [${engine}]`, postgresMissing)),
        sanitizeOps: false,
        sanitizeResources: false,
        fn: async () => {
          const [before, after] = await (databases ??= start(stack));
          const onBoth = async (...statements: string[]) => {
            for (const statement of statements) await Promise.all([before.query(statement), after.query(statement)]);
          };
          await run({ before, after, onBoth });
        },
      });
  });
  return (name, run) => tests.forEach((test) => test(name, run));
}
