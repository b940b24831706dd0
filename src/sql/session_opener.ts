// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { queryError } from "./failure.ts";
import { isOpenTransaction } from "./run.ts";

/** The option `onConnect` of `connect()`: SQL, or a function that returns it. */
export type OnConnect = string | (() => string | Promise<string>);

/**
 * Makes the function that prepares each new session of the server. It rejects with an error that quotes the SQL and points at
 * the place that the server refused.
 */
export function sessionOpener(onConnect: OnConnect): (client: pg.Client) => Promise<void> {
  return async (client) => {
    const text = typeof onConnect === "string" ? onConnect : await callForSql(onConnect);
    try {
      await client.query(text);
    } catch (error) {
      const { code, message, cause, sqlstate } = queryError(error, { text, values: [] });
      throw new LakebaseError(code, `Cannot connect: the SQL of option "onConnect" failed: ${message}`, {
        cause,
        sqlstate,
      });
    }
    if (!isOpenTransaction({ client })) return;
    throw new LakebaseError(
      "BAD_SETTING",
      'Cannot connect: the SQL of option "onConnect" left a transaction open; end it with COMMIT',
    );
  };
}

async function callForSql(make: () => string | Promise<string>): Promise<string> {
  let text: unknown;
  try {
    text = await make();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw bad(`threw an error: ${reason}`, cause);
  }
  if (typeof text === "string" && text.trim() !== "" && !text.includes("\0")) return text;
  throw bad(`returned ${text === "" ? "an empty text" : typeof text}; it must return SQL`);
}

function bad(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_SETTING", `Cannot connect: the function "onConnect" ${state}`, { cause });
}
