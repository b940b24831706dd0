import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import type { Login } from "./database.ts";
import {
  cstring,
  type Frame,
  frame,
  Framer,
  type Outcome,
  query,
  readCString,
  ready,
  Refused,
  type,
} from "./messages.ts";
import { mergeSettings, type SessionSettings, startupSettings } from "./session_settings.ts";

/** One client of the embedded database, and its share of the backend's state. */
export class EmbeddedSession {
  readonly process: number;
  /** The secret that a cancel request must contain. */
  readonly secret: Uint8Array = randomBytes(4);
  readonly client: Connection;
  readonly requests: Requests;
  readonly statements: SessionStatements;
  /** Channels of LISTEN. */
  readonly channels: Set<string> = new Set();
  /** The settings that are kept for the role, and those that the client requested at login. RESET returns to them. */
  readonly defaults: Map<string, string>;
  settings: SessionSettings;
  /** Values that the client was last sent in ParameterStatus. */
  readonly reported: Map<string, string> = new Map();
  /** Whether the settings may have changed since they were last read. */
  dirty = false;
  /**
   * Whether the session has called `set_config()`. It may call it again through a prepared statement, whose text is not
   * repeated.
   */
  #setsByCalls = false;
  /** Whether the session may have created temporary objects. */
  temporary = false;

  constructor(
    process: number,
    client: Connection,
    { role, parameters, readOnly }: Login,
    kept: ReadonlyMap<string, string>,
    prepared: PreparedStatements,
  ) {
    this.process = process;
    this.client = client;
    this.requests = new Requests(client);
    this.statements = new SessionStatements(process, prepared);
    this.defaults = mergeSettings(kept, startupSettings(parameters, readOnly));
    this.settings = { user: role, role: "none", values: new Map(this.defaults) };
  }

  /** Records how a batch has changed the session. Returns which parts of its state the backend must restore. */
  track(sql: string, { tags }: Outcome): { defaults: boolean; listen: boolean } {
    const discarded = tags.has("DISCARD ALL");
    const reset = tags.has("RESET") || discarded;
    this.#setsByCalls ||= /set_config/i.test(sql);
    if (reset || tags.has("SET") || this.#setsByCalls) this.dirty = true;
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

/** Matches a custom setting: its name has a point in it, and no list of the server includes it. */
const OWN_SETTING = /\b[A-Za-z_]\w*(?:\.\w+)+/g;
/** The bytes of a message that are searched for such names. */
const SEARCHED_BYTES = 100_000;

/** Finds possible names of custom settings, such as `app.tenant`, in the texts and parameters of a batch. */
export function ownSettings(requests: Frame[]): string[] {
  return requests.filter((request) => "QPB".includes(type(request)))
    .flatMap((request) => ownSettingsIn(LATIN1.decode(request.subarray(5, SEARCHED_BYTES))));
}

/** Finds possible names of custom settings, such as `app.tenant`, in a text. */
export function ownSettingsIn(text: string): string[] {
  return [...text.matchAll(OWN_SETTING)].map(([name]) => name.toLowerCase());
}

const LATIN1 = new TextDecoder("latin1");

/** The channels of the LISTEN or UNLISTEN commands in a text of SQL. The server keeps 63 bytes of a name. */
export function channelsOf(sql: string, command: "LISTEN" | "UNLISTEN"): string[] {
  const statements = sql.matchAll(new RegExp(`\\b${command}\\s+(?:"((?:[^"]|""){1,200})"|([\\w$]+|\\*))`, "gi"));
  return [...statements].map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare?.toLowerCase() ?? "");
}

/** Bytes after which a batch runs without waiting for its Sync. */
const MAX_BATCH_BYTES = 1 << 20;

/** Types of the messages that a client may send. Any other type ends the Postgres process, which is the only one here. */
const CLIENT_MESSAGES = "QPBDECHSFXdcf";

/** A client's messages after login, cut into batches that fit into a turn. */
class Requests {
  readonly #client: Connection;
  readonly #framer = new Framer();
  /** `"skipping"`: a batch was refused, so its messages are dropped up to its Sync. */
  #state: "reading" | "skipping" | "malformed" = "reading";

  constructor(client: Connection) {
    this.#client = client;
  }

  /**
   * The next message; `undefined` after Terminate or the end of the connection.
   *
   * @throws {Refused} If the bytes are not a message.
   */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const message = this.#nextBuffered();
      if (message) return type(message) === "X" ? undefined : message;
      const chunk = await this.#client.read();
      if (!chunk) return undefined;
      this.#framer.push(chunk);
    }
  }

  /** The COPY messages that have arrived, at least one; `undefined` if `next` is. */
  async copyData(): Promise<Frame[] | undefined> {
    let message = await this.next();
    if (!message) return undefined;
    const messages = [message];
    for (let size = message.length; size < MAX_BATCH_BYTES && type(message) === "d"; size += message.length) {
      const following = this.#nextBuffered();
      if (!following) break;
      message = following;
      messages.push(message);
    }
    return messages;
  }

  /** Messages up to one that Postgres answers at once: a query, Sync or Flush; `undefined` if `next` is. */
  async batch(): Promise<Frame[] | undefined> {
    const messages: Frame[] = [];
    for (let size = 0; size < MAX_BATCH_BYTES;) {
      const message = await this.next();
      if (!message) return undefined;
      const kind = type(message);
      if (this.#state === "skipping") {
        await this.#skip(kind);
        continue;
      }
      if ("dcf".includes(kind)) continue; // the rest of a failed COPY
      messages.push(message);
      size += message.length;
      if ("QFSH".includes(kind)) break;
    }
    return messages;
  }

  /** Ends a batch that was refused without running: sends ReadyForQuery, now or at the batch's Sync. */
  async abandon(batch: Frame[]): Promise<void> {
    this.#state = "skipping";
    const last = batch.at(-1);
    if (last && "QFS".includes(type(last))) await this.#skip("S");
  }

  async #skip(kind: string): Promise<void> {
    if (kind !== "S") return;
    this.#state = "reading";
    await this.#client.write(ready());
  }

  /** The next message whose bytes have arrived. After a malformed message, the start of the next message is unknown. */
  #nextBuffered(): Frame | undefined {
    const message = this.#state === "malformed" ? "malformed" : this.#frame();
    if (message !== "malformed") return message;
    this.#state = "malformed";
    throw new Refused({ sqlstate: "08P01", message: "invalid frontend message" });
  }

  #frame(): Frame | "malformed" | undefined {
    try {
      const message = this.#framer.next();
      return message === undefined || CLIENT_MESSAGES.includes(type(message)) ? message : "malformed";
    } catch (error) {
      if (error instanceof RangeError) return "malformed"; // the length is impossible
      throw error;
    }
  }
}

/** The prepared statements of all sessions in the shared backend. */
export class PreparedStatements {
  readonly names: Set<string> = new Set();
  /** The session that prepared the unnamed statement. */
  unnamed: SessionStatements | undefined;
}

/** The prepared statements of one session. A prefix separates their names from those of other sessions. */
export class SessionStatements {
  readonly prefix: string;
  readonly #backend: PreparedStatements;
  readonly #parsed = new Map<string, Frame>();

  constructor(session: number, backend: PreparedStatements) {
    this.prefix = `s${session}.`;
    this.#backend = backend;
  }

  /**
   * Returns the requests with prefixed names, and `restore`: requests that prepare again the statements that were
   * dropped.
   */
  rewrite(requests: Frame[]): { restore: Frame[]; requests: Frame[] } {
    const restore: Frame[] = [];
    const rewritten = requests.map((request) => this.#rewrite(request, restore));
    return { restore, requests: rewritten };
  }

  /** Records that the session ran DEALLOCATE ALL or DISCARD ALL, which drops the statements of all sessions. */
  dropped(): void {
    this.#backend.names.clear();
    this.#parsed.clear();
  }

  /** Requests that drop all statements of this session. */
  close(): Frame[] {
    const names = [...this.#parsed.keys()].filter((name) => name && this.#backend.names.delete(this.prefix + name));
    if (this.#backend.unnamed === this) this.#backend.unnamed = undefined;
    return names.map((name) => frame("C", cstring(`S${this.prefix}${name}`)));
  }

  #rewrite(request: Frame, restore: Frame[]): Frame {
    switch (type(request)) {
      case "P":
        return this.#parse(request);
      case "B":
        return this.#bind(request, restore);
      case "D":
      case "C":
        return this.#describeOrClose(request, restore);
      case "Q":
        this.#forgetUnnamed();
        return this.#simple(request);
      default:
        return request;
    }
  }

  #parse(request: Frame): Frame {
    const { text: name, next } = readCString(request, 5);
    const sql = readCString(request, next);
    const text = this.#deallocate(sql.text);
    const parsed = frame("P", cstring(this.#prefixed(name)), cstring(text), request.subarray(sql.next));
    this.#parsed.set(name, parsed);
    if (name) this.#backend.names.add(this.#prefixed(name));
    else this.#backend.unnamed = this;
    return parsed;
  }

  #bind(request: Frame, restore: Frame[]): Frame {
    const portal = readCString(request, 5);
    const statement = readCString(request, portal.next);
    this.#restoreIfDropped(statement.text, restore);
    if (!statement.text) return request;
    return frame("B", cstring(portal.text), cstring(this.#prefixed(statement.text)), request.subarray(statement.next));
  }

  #describeOrClose(request: Frame, restore: Frame[]): Frame {
    const { text } = readCString(request, 5);
    const name = text.slice(1);
    if (text[0] !== "S") return request;
    if (type(request) === "D") this.#restoreIfDropped(name, restore);
    else this.#forget(name);
    return name ? frame(type(request), cstring(`S${this.#prefixed(name)}`)) : request;
  }

  #simple(request: Frame): Frame {
    const { text } = readCString(request, 5);
    const rewritten = this.#deallocate(text);
    return rewritten === text ? request : query(rewritten);
  }

  /** Prefixes the name in DEALLOCATE of a statement that the protocol prepared. psycopg sends it. */
  #deallocate(sql: string): string {
    const [, quoted, bare] = /^\s*DEALLOCATE\s+(?:PREPARE\s+)?(?:"([^"]+)"|(\w+))(?:\s*;)?\s*$/i.exec(sql) ?? [];
    const name = quoted ?? bare?.toLowerCase();
    if (!name || !this.#parsed.has(name)) return sql;
    this.#forget(name);
    return `DEALLOCATE "${this.#prefixed(name)}"`;
  }

  #restoreIfDropped(name: string, restore: Frame[]): void {
    const present = name ? this.#backend.names.has(this.#prefixed(name)) : this.#backend.unnamed === this;
    const parsed = this.#parsed.get(name);
    if (present || !parsed) return;
    restore.push(parsed);
    if (name) this.#backend.names.add(this.#prefixed(name));
    else this.#backend.unnamed = this;
  }

  #forget(name: string): void {
    this.#parsed.delete(name);
    this.#backend.names.delete(this.#prefixed(name));
  }

  /** A simple query drops the unnamed statement, and it does not matter which session it belongs to. */
  #forgetUnnamed(): void {
    this.#parsed.delete("");
    this.#backend.unnamed = undefined;
  }

  #prefixed(name: string): string {
    return name && this.prefix + name;
  }
}

/** The SQL texts in some requests. */
export function sqlOf(requests: Frame[]): string {
  return requests.map((request) => {
    if (type(request) === "Q") return readCString(request, 5).text;
    return type(request) === "P" ? readCString(request, readCString(request, 5).next).text : "";
  }).join("\n");
}
