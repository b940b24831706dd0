import { LakebaseError } from "../errors.ts";
import { visible } from "../notebook/escape.ts";
import type { Incoming } from "./incoming.ts";

/** What is known of a load that failed. */
export interface FailedLoad {
  /** The table, as it was named. */
  name: string;
  /** What was loaded. */
  incoming: Pick<Incoming, "name">;
  /** Whether all of it was done, so that the server was told to keep it. */
  done?: true;
}

/** Of a table that others refer to. */
const FEATURE_NOT_SUPPORTED = "0A000";
/** A constraint: a foreign key, or one that is deferred. */
const INTEGRITY = /^23/;

/**
 * What the server, or the connection, said of a load and not of one of its rows, as an error that says what became of it.
 *
 * @returns The same error where it says that already, or is the caller's own.
 */
export function failedLoad(error: unknown, { name, incoming, done }: FailedLoad): unknown {
  if (!(error instanceof LakebaseError) || error.message.startsWith("Cannot load")) return error;
  const { code, sqlstate, cause } = error;
  const begin = `Cannot load ${incoming.name} into ${name}`;
  if (code === "CONNECTION_LOST") {
    const reason = visible(cause instanceof Error ? cause.message : error.message);
    const state = done
      ? "Whether its rows are there is not known, since all of them were sent: look before you load them again."
      : "Nothing was loaded.";
    return new LakebaseError(code, `${begin}: the connection is lost: ${reason}\n${state}`, { cause, sqlstate });
  }
  if (code !== "QUERY_FAILED" || sqlstate === undefined) return error;
  const tip = tipFor(sqlstate, error.message, incoming.name);
  const lines = error.message.split("\n").filter((line) => tip === undefined || !line.startsWith("HINT: "));
  const hints = tip === undefined ? [] : [`HINT: ${tip}`];
  const message = [`${begin}: ${lines.join("\n")}`, ...hints, "Nothing was loaded."].join("\n");
  return new LakebaseError(code, message, { cause, sqlstate });
}

function tipFor(sqlstate: string, message: string, source: string): string | undefined {
  if (sqlstate === FEATURE_NOT_SUPPORTED && message.startsWith("cannot truncate")) {
    return "rows of another table refer to it; in a transaction, empty both yourself, then load without a mode: " +
      "db.transaction(async (tx) => { await tx.sql`TRUNCATE ...`; await tx.load(...) })";
  }
  if (!INTEGRITY.test(sqlstate)) return undefined;
  return `the server looks at this after the last row and does not say which it was: look for the value in ${source}`;
}
