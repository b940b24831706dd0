// @ts-types="@types/pg"
import type pg from "pg";
import type { EventEmitter } from "node:events";
import type { Notice } from "./result.ts";

/** A loop of RAISE NOTICE is not worth the memory. */
const MOST_NOTICES = 1000;

type WireNotice = Partial<Record<"severity" | "message" | "detail" | "hint", string | undefined>>;

/** What a connection says beside rows. */
export interface Heard {
  /** Notices and warnings. */
  notices: Notice[];
  /** The last command's tag, whole: `pg` keeps the first word of `CREATE TABLE`. */
  tag: string;
}

/**
 * Listens to a connection.
 *
 * @param client The connection.
 * @returns What it has said since; dispose of it to stop listening.
 */
export function listen(client: pg.PoolClient): Heard & Disposable {
  const heard: Heard = { notices: [], tag: "" };
  const { connection } = client as unknown as { connection: EventEmitter };
  const onNotice = ({ severity = "NOTICE", message = "", detail, hint }: WireNotice) => {
    if (heard.notices.length >= MOST_NOTICES) return;
    heard.notices.push({ severity, message, ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) });
  };
  const onComplete = ({ text }: { text: string }) => heard.tag = text;
  client.on("notice", onNotice);
  connection.on("commandComplete", onComplete);
  return Object.assign(heard, {
    [Symbol.dispose]() {
      client.removeListener("notice", onNotice);
      connection.removeListener("commandComplete", onComplete);
    },
  });
}
