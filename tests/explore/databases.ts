import { localTests } from "../support/lakebase.ts";
import { postgresMissing, type PostgresServer, startPostgres } from "../support/postgres.ts";
import { requires } from "../support/requirements.ts";

type Run = Parameters<ReturnType<typeof localTests>>[1];

/** Makes `test()` that runs on both databases a local Lakebase may have. */
export function databaseTests(): (name: string, run: Run) => void {
  let server: PostgresServer | undefined;
  Deno.test.afterAll(() => server?.stop());
  const onPGlite = localTests();
  const onPostgres = localTests(async () => {
    server = await startPostgres();
    return { database: server.url };
  });
  return (name, run) => {
    onPGlite(`${name} (PGlite)`, run);
    onPostgres(requires(`${name} (PostgreSQL)`, postgresMissing), run);
  };
}
