import { postgresPrograms } from "../../tests/support/postgres.ts";

/** The server for `psql`, as environment variables. */
export interface PsqlTarget {
  port: number;
  password: string;
  /** The file of the authority's certificate; without it there is no TLS. */
  ca?: string | undefined;
}

/**
 * Runs one `psql` command and returns the milliseconds that psql itself measured, without its start and its login.
 *
 * @param command Such as `\copy t to 'file' with (format csv)`.
 */
export async function psqlTime(command: string, { port, password, ca }: PsqlTarget): Promise<number> {
  const tls = ca === undefined ? { PGSSLMODE: "disable" } : { PGSSLMODE: "verify-full", PGSSLROOTCERT: ca };
  const { success, stdout, stderr } = await new Deno.Command(`${postgresPrograms()}/psql`, {
    args: ["-X", "-v", "ON_ERROR_STOP=1", "-c", "\\timing on", "-c", command],
    env: {
      PGHOST: "127.0.0.1",
      PGPORT: `${port}`,
      PGUSER: "postgres",
      PGDATABASE: "postgres",
      PGPASSWORD: password,
      ...tls,
    },
    stdin: "null",
  }).output();
  const output = new TextDecoder().decode(stdout);
  const time = /^Time: ([\d.]+) ms/m.exec(output)?.[1];
  if (!success || time === undefined) throw new Error(`psql failed: ${output}${new TextDecoder().decode(stderr)}`);
  return Number(time);
}
