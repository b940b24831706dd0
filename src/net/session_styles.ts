import type { EventEmitter } from "node:events";
// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";

/**
 * How the server has to write values, so that they are read without a loss: a role, a database or PGOPTIONS may say otherwise.
 * It is settled by a statement after the login and not by startup parameters, which poolers refuse. What a statement of the
 * person has set stays.
 */
const SETTLE = `SELECT pg_catalog.set_config(w.name, w.wanted, false) FROM (VALUES
  ('DateStyle', 'ISO', '^ISO'),
  ('IntervalStyle', 'postgres', '^postgres$'),
  ('bytea_output', 'hex', '^hex$'),
  ('extra_float_digits', '1', '^[123]$')) w (name, wanted, good)
  JOIN pg_catalog.pg_settings s ON s.name = w.name
  WHERE s.source <> 'session' AND s.setting !~ w.good`;

interface Connection extends EventEmitter {
  reported?: Map<string, string>;
}

/**
 * Keeps what the server reports of a session's settings, and puts back what a reset undoes. The driver reads UTF-8 alone, so
 * another `client_encoding` is put back too.
 *
 * @param client A client that has not connected.
 */
export function watchStyles(client: pg.Client): void {
  const { connection } = client as unknown as { connection: Connection };
  const reported = connection.reported = new Map();
  connection.on("parameterStatus", ({ parameterName, parameterValue }: Record<string, string>) => {
    reported.set(parameterName, parameterValue);
    if (parameterName === "client_encoding" && parameterValue !== "UTF8") {
      client.query("SET client_encoding TO 'UTF8'").catch(() => {});
    }
  });
  connection.on("commandComplete", ({ text }: { text: string }) => {
    if (text === "RESET" || text === "DISCARD ALL") settleStyles(client).catch(() => {});
  });
}

/** Settles how the server writes values. A server that does not let it goes on: what it then sends is told when it is read. */
export async function settleStyles(client: pg.Client): Promise<void> {
  await client.query(SETTLE).catch((error) => {
    if ((error as { severity?: string }).severity !== "ERROR") throw error;
  });
}
