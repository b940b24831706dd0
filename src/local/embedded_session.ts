import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import type { Login } from "./database.ts";
import { type Frame, Framer, ready, Refused, type } from "./messages.ts";
import type { Outcome } from "./responses.ts";
import { type SessionSettings, startupSettings } from "./session_settings.ts";
import { type PreparedStatements, SessionStatements } from "./statements.ts";

/** One client of the embedded database, and what of the shared backend is its own. */
export class EmbeddedSession {
  readonly process: number;
  /** What a request to cancel has to show. */
  readonly secret: Uint8Array = randomBytes(4);
  readonly client: Connection;
  readonly requests: Requests;
  readonly statements: SessionStatements;
  /** What it listens to. */
  readonly channels: Set<string> = new Set();
  /** What its client asked for at login, which RESET comes back to. */
  readonly defaults: Map<string, string>;
  settings: SessionSettings;
  /** What its client was last told of its settings. */
  readonly reported: Map<string, string> = new Map();
  /** Whether its settings may have changed since they were last looked at. */
  dirty = false;
  /** Whether it may have made temporary objects. */
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

  /** Keeps track of what a batch has done to the session; says what the backend must now be told. */
  attend(sql: string, { tags }: Outcome): { defaults: boolean; listen: boolean } {
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

/** The channels (of whose names the server keeps 63 bytes) that some SQL listens to, or stops listening to. */
export function channelsOf(sql: string, command: "LISTEN" | "UNLISTEN"): string[] {
  const statements = sql.matchAll(new RegExp(`\\b${command}\\s+(?:"((?:[^"]|""){1,200})"|([\\w$]+|\\*))`, "gi"));
  return [...statements].map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare?.toLowerCase() ?? "");
}

/** A batch is run once it has this many bytes, though its Sync has not come yet. */
const ENOUGH = 1 << 20;

/** What a client may say. Postgres ends its process over anything else, and the embedded one is all that there is. */
const KNOWN = "QPBDECHSFXdcf";

/** What a client sends after its login, cut where the database can take a turn. */
export class Requests {
  readonly #client: Connection;
  readonly #framer = new Framer();
  #skipping = false;
  #lost = false;

  constructor(client: Connection) {
    this.#client = client;
  }

  /**
   * The next message; undefined once the client has gone, or said so.
   *
   * @throws {Refused} Where it is no message.
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

  /** What there is of the input of a COPY, and at least one message; undefined where `next` is. */
  async copyData(): Promise<Frame[] | undefined> {
    let message = await this.next();
    if (!message) return undefined;
    const messages = [message];
    for (let size = message.length; size < ENOUGH && type(message) === "d"; size += message.length) {
      const following = this.#framed();
      if (!following) break;
      message = following;
      messages.push(message);
    }
    return messages;
  }

  /** Messages up to one that is answered at once: a query, Sync or Flush. Undefined where `next` is. */
  async batch(): Promise<Frame[] | undefined> {
    const messages: Frame[] = [];
    for (let size = 0; size < ENOUGH;) {
      const message = await this.next();
      if (!message) return undefined;
      const kind = type(message);
      if (this.#skipping) {
        await this.#skip(kind);
        continue;
      }
      // What is left of a COPY that has failed.
      if ("dcf".includes(kind)) continue;
      messages.push(message);
      size += message.length;
      if ("QFSH".includes(kind)) break;
    }
    return messages;
  }

  /** After an error of a batch that wasn't run: says that it is over, at once or at its Sync. */
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
      if (this.#lost) throw new RangeError("Cannot read message: the one before made no sense");
      const message = this.#framer.next();
      if (!message || KNOWN.includes(type(message))) return message;
    } catch {
      // Its length makes no sense either.
    }
    this.#lost = true;
    throw new Refused({ sqlstate: "08P01", message: "invalid frontend message" });
  }
}
