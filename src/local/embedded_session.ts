import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import type { Login } from "./database.ts";
import { type Frame, Framer, ready, Refused, type } from "./messages.ts";
import type { Outcome } from "./responses.ts";
import { type SessionSettings, startupSettings } from "./session_settings.ts";
import { type PreparedStatements, SessionStatements } from "./statements.ts";

/** One client of the embedded database, and its part of the shared backend's state. */
export class EmbeddedSession {
  readonly process: number;
  /** The secret that a cancel request must contain. */
  readonly secret: Uint8Array = randomBytes(4);
  readonly client: Connection;
  readonly requests: Requests;
  readonly statements: SessionStatements;
  /** Channels of LISTEN. */
  readonly channels: Set<string> = new Set();
  /** Settings that the client asked for at login; RESET returns to them. */
  readonly defaults: Map<string, string>;
  settings: SessionSettings;
  /** Values that the client was last sent in ParameterStatus. */
  readonly reported: Map<string, string> = new Map();
  /** Whether the settings may have changed since they were last read. */
  dirty = false;
  /** Whether the session may have created temporary objects. */
  temporary = false;

  constructor(
    process: number,
    client: Connection,
    { role, parameters, readOnly }: Login,
    prepared: PreparedStatements,
  ) {
    this.process = process;
    this.client = client;
    this.requests = new Requests(client);
    this.statements = new SessionStatements(process, prepared);
    this.defaults = startupSettings(parameters, readOnly);
    this.settings = { user: role, role: "none", values: new Map(this.defaults) };
  }

  /** Records what a batch has done to the session. Returns what the backend must restore. */
  track(sql: string, { tags }: Outcome): { defaults: boolean; listen: boolean } {
    const discarded = tags.has("DISCARD ALL");
    const reset = tags.has("RESET") || discarded;
    if (reset || tags.has("SET") || /set_config/i.test(sql)) this.dirty = true;
    if (/\btemp(orary)?\b/i.test(sql)) this.temporary = true;
    if (discarded || tags.has("DEALLOCATE ALL")) this.statements.dropped();
    if (tags.has("LISTEN")) { for (const channel of channelsOf(sql, "LISTEN")) this.channels.add(channel); }
    if (tags.has("UNLISTEN")) this.#unlisten(channelsOf(sql, "UNLISTEN"));
    if (discarded) this.channels.clear();
    return { defaults: reset && this.defaults.size > 0, listen: discarded || tags.has("UNLISTEN") };
  }

  #unlisten(channels: string[]): void {
    if (channels.includes("*")) this.channels.clear();
    for (const channel of channels) this.channels.delete(channel);
  }
}

/** The channels of the LISTEN or UNLISTEN commands in some SQL. The server keeps 63 bytes of a name. */
export function channelsOf(sql: string, command: "LISTEN" | "UNLISTEN"): string[] {
  const statements = sql.matchAll(new RegExp(`\\b${command}\\s+(?:"((?:[^"]|""){1,200})"|([\\w$]+|\\*))`, "gi"));
  return [...statements].map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare?.toLowerCase() ?? "");
}

/** Bytes after which a batch runs without waiting for its Sync. */
const MAX_BATCH_BYTES = 1 << 20;

/** Types of the messages that a client may send. Any other type ends a Postgres process, and there is only one here. */
const CLIENT_MESSAGES = "QPBDECHSFXdcf";

/** A client's messages after login, cut into batches that fit into a turn. */
export class Requests {
  readonly #client: Connection;
  readonly #framer = new Framer();
  #skipping = false;
  #malformed = false;

  constructor(client: Connection) {
    this.#client = client;
  }

  /**
   * The next message; undefined after Terminate or the end of the connection.
   *
   * @throws {Refused} If the bytes are not a message.
   */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const message = this.#framed();
      if (message) return type(message) === "X" ? undefined : message;
      const chunk = await this.#client.read();
      if (!chunk) return undefined;
      this.#framer.push(chunk);
    }
  }

  /** The COPY messages that have arrived, at least one; undefined where `next` is. */
  async copyData(): Promise<Frame[] | undefined> {
    let message = await this.next();
    if (!message) return undefined;
    const messages = [message];
    for (let size = message.length; size < MAX_BATCH_BYTES && type(message) === "d"; size += message.length) {
      const following = this.#framed();
      if (!following) break;
      message = following;
      messages.push(message);
    }
    return messages;
  }

  /** Messages up to one that Postgres answers at once: a query, Sync or Flush. Undefined where `next` is. */
  async batch(): Promise<Frame[] | undefined> {
    const messages: Frame[] = [];
    for (let size = 0; size < MAX_BATCH_BYTES;) {
      const message = await this.next();
      if (!message) return undefined;
      const kind = type(message);
      if (this.#skipping) {
        await this.#skip(kind);
        continue;
      }
      // The rest of a failed COPY.
      if ("dcf".includes(kind)) continue;
      messages.push(message);
      size += message.length;
      if ("QFSH".includes(kind)) break;
    }
    return messages;
  }

  /** Ends a batch that was refused without running: sends ReadyForQuery, now or at the batch's Sync. */
  async abandon(batch: Frame[]): Promise<void> {
    this.#skipping = true;
    const last = batch.at(-1);
    if (last && "QFS".includes(type(last))) await this.#skip("S");
  }

  async #skip(kind: string): Promise<void> {
    if (kind !== "S") return;
    this.#skipping = false;
    await this.#client.write(ready());
  }

  #framed(): Frame | undefined {
    try {
      if (this.#malformed) throw new RangeError("Cannot read message: the previous one is malformed");
      const message = this.#framer.next();
      if (!message || CLIENT_MESSAGES.includes(type(message))) return message;
    } catch {
      // An impossible length gives the same error.
    }
    this.#malformed = true;
    throw new Refused({ sqlstate: "08P01", message: "invalid frontend message" });
  }
}
