import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import { type Login, mergeSettings, type SessionSettings, startupSettings } from "./database.ts";
import {
  cstring,
  type Frame,
  frame,
  Framer,
  messageType,
  type Outcome,
  PostgresError,
  query,
  readCString,
  readyForQuery,
} from "./messages.ts";

/** A session of the embedded database: its client, and its part of the state of the shared backend. */
export class EmbeddedSession {
  readonly process: number;
  /** The secret that a cancel request must contain. */
  readonly secret: Uint8Array = randomBytes(4);
  readonly client: Connection;
  readonly requests: RequestReader;
  readonly statements: SessionStatements;
  /** The channels to which the session listens. */
  readonly channels: Set<string> = new Set();
  /** The role's settings, and those that the client requested at login. RESET returns to them. */
  readonly defaults: Map<string, string>;
  settings: SessionSettings;
  /** The values of settings that the client knows from ParameterStatus messages. */
  readonly reported: Map<string, string> = new Map();
  /** Whether the settings may have changed since they were last read. */
  dirty = false;
  /** Whether the session has called `set_config()`. A prepared statement may call it again without repeating the text. */
  #hasCalledSetConfig = false;
  /** Whether the session may have created temporary objects. */
  temporary = false;

  constructor(
    process: number,
    client: Connection,
    { role, parameters, readOnly }: Login,
    roleSettings: ReadonlyMap<string, string>,
    prepared: PreparedStatements,
  ) {
    this.process = process;
    this.client = client;
    this.requests = new RequestReader(client);
    this.statements = new SessionStatements(process, prepared);
    this.defaults = mergeSettings(roleSettings, startupSettings(parameters, readOnly));
    this.settings = { user: role, role: "none", values: new Map(this.defaults) };
  }

  /** Records how a batch has changed the session. Returns which parts of the state the backend must restore. */
  track(sql: string, { tags }: Outcome): { defaults: boolean; listen: boolean } {
    const discarded = tags.has("DISCARD ALL");
    const reset = tags.has("RESET") || discarded;
    this.#hasCalledSetConfig ||= /set_config/i.test(sql);
    if (reset || tags.has("SET") || this.#hasCalledSetConfig) this.dirty = true;
    if (/\btemp(orary)?\b/i.test(sql)) this.temporary = true;
    if (discarded || tags.has("DEALLOCATE ALL")) this.statements.forgetAll();
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

/** Matches the name of a custom setting, which contains a dot. The server does not list such settings. */
const CUSTOM_SETTING = /\b[A-Za-z_]\w*(?:\.\w+)+/g;
/** The number of bytes of a message that are searched for such names. */
const SEARCHED_BYTES = 100_000;

/** Finds possible names of custom settings, such as `app.tenant`, in the statements and parameters of a batch. */
export function customSettings(requests: Frame[]): string[] {
  return requests.filter((request) => "QPB".includes(messageType(request)))
    .flatMap((request) => customSettingsIn(LATIN1.decode(request.subarray(5, SEARCHED_BYTES))));
}

/** Finds possible names of custom settings, such as `app.tenant`, in a text. */
export function customSettingsIn(text: string): string[] {
  return [...text.matchAll(CUSTOM_SETTING)].map(([name]) => name.toLowerCase());
}

const LATIN1 = new TextDecoder("latin1");

/** The channels in the LISTEN or UNLISTEN commands of a script. The limit of 200 is above that of Postgres, 63 bytes. */
export function channelsOf(sql: string, command: "LISTEN" | "UNLISTEN"): string[] {
  const statements = sql.matchAll(new RegExp(`\\b${command}\\s+(?:"((?:[^"]|""){1,200})"|([\\w$]+|\\*))`, "gi"));
  return [...statements].map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare?.toLowerCase() ?? "");
}

/** Bytes after which a batch runs before its Sync has arrived. */
const MAX_BATCH_BYTES = 1 << 20;

/** The message types that a client may send. Any other would end the only backend, and with it all sessions. */
const CLIENT_MESSAGES = "QPBDECHSFXdcf";

/** Reads a client's messages after login, in batches. Each batch runs in one turn. */
class RequestReader {
  readonly #client: Connection;
  readonly #framer = new Framer();
  /** `"skipping"` while the messages of a refused batch are dropped, up to its Sync. */
  #state: "reading" | "skipping" | "malformed" = "reading";

  constructor(client: Connection) {
    this.#client = client;
  }

  /**
   * Reads the next message; `undefined` for Terminate or the end of the connection.
   *
   * @throws {PostgresError} If the message is malformed.
   */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const message = this.#nextBuffered();
      if (message) return messageType(message) === "X" ? undefined : message;
      const chunk = await this.#client.read();
      if (!chunk) return undefined;
      this.#framer.push(chunk);
    }
  }

  /** Reads one or more messages of a COPY, as many as have arrived; `undefined` at the end, as `next()`. */
  async copyData(): Promise<Frame[] | undefined> {
    let message = await this.next();
    if (!message) return undefined;
    const messages = [message];
    for (let size = message.length; size < MAX_BATCH_BYTES && messageType(message) === "d"; size += message.length) {
      const following = this.#nextBuffered();
      if (!following) break;
      message = following;
      messages.push(message);
    }
    return messages;
  }

  /** Reads messages up to a Query, FunctionCall, Sync or Flush; `undefined` at the end, as `next()`. */
  async batch(): Promise<Frame[] | undefined> {
    const messages: Frame[] = [];
    for (let size = 0; size < MAX_BATCH_BYTES;) {
      const message = await this.next();
      if (!message) return undefined;
      const kind = messageType(message);
      if (this.#state === "skipping") {
        await this.#skip(kind);
        continue;
      }
      if ("dcf".includes(kind)) continue; // input of a COPY that has failed
      messages.push(message);
      size += message.length;
      if ("QFSH".includes(kind)) break;
    }
    return messages;
  }

  /** Ends a batch that was refused and has not run: sends ReadyForQuery, either now or after the batch's Sync. */
  async abandon(batch: Frame[]): Promise<void> {
    this.#state = "skipping";
    const last = batch.at(-1);
    if (last && "QFS".includes(messageType(last))) await this.#skip("S");
  }

  async #skip(kind: string): Promise<void> {
    if (kind !== "S") return;
    this.#state = "reading";
    await this.#client.write(readyForQuery());
  }

  /** The next message if it has arrived. A malformed message ends the session: where the next one starts is unknown. */
  #nextBuffered(): Frame | undefined {
    const message = this.#state === "malformed" ? "malformed" : this.#frame();
    if (message !== "malformed") return message;
    this.#state = "malformed";
    throw new PostgresError({ sqlstate: "08P01", message: "invalid frontend message" });
  }

  #frame(): Frame | "malformed" | undefined {
    try {
      const message = this.#framer.next();
      return message === undefined || CLIENT_MESSAGES.includes(messageType(message)) ? message : "malformed";
    } catch (error) {
      if (error instanceof RangeError) return "malformed"; // the length is not valid
      throw error;
    }
  }
}

/** The prepared statements that the shared backend has. */
export class PreparedStatements {
  /** Their names, with the prefixes of the sessions. */
  readonly names: Set<string> = new Set();
  /** The session that prepared the unnamed statement. */
  unnamed: SessionStatements | undefined;
}

/** The prepared statements of a session. A prefix distinguishes their names from those of other sessions. */
export class SessionStatements {
  readonly prefix: string;
  readonly #backend: PreparedStatements;
  readonly #parsed = new Map<string, Frame>();

  constructor(session: number, backend: PreparedStatements) {
    this.prefix = `s${session}.`;
    this.#backend = backend;
  }

  /**
   * Prefixes the names of statements in requests.
   *
   * @returns The requests, and `restore`: the requests that must run first, because another session has dropped
   * statements that these requests use.
   */
  rewrite(requests: Frame[]): { restore: Frame[]; requests: Frame[] } {
    const restore: Frame[] = [];
    const rewritten = requests.map((request) => this.#rewrite(request, restore));
    return { restore, requests: rewritten };
  }

  /** Records that the session ran DEALLOCATE ALL or DISCARD ALL, which drops the statements of all sessions. */
  forgetAll(): void {
    this.#backend.names.clear();
    this.#parsed.clear();
  }

  /** Forgets the statements of this session. Returns the requests that drop them. */
  close(): Frame[] {
    const names = [...this.#parsed.keys()].filter((name) => name && this.#backend.names.delete(this.prefix + name));
    if (this.#backend.unnamed === this) this.#backend.unnamed = undefined;
    return names.map((name) => frame("C", cstring(`S${this.prefix}${name}`)));
  }

  #rewrite(request: Frame, restore: Frame[]): Frame {
    switch (messageType(request)) {
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
    if (messageType(request) === "D") this.#restoreIfDropped(name, restore);
    else this.#forget(name);
    return name ? frame(messageType(request), cstring(`S${this.#prefixed(name)}`)) : request;
  }

  #simple(request: Frame): Frame {
    const { text } = readCString(request, 5);
    const rewritten = this.#deallocate(text);
    return rewritten === text ? request : query(rewritten);
  }

  /** Prefixes the name in a DEALLOCATE, which psycopg sends for statements that it has prepared with Parse. */
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

  /** A simple query drops the unnamed statement, of whichever session. */
  #forgetUnnamed(): void {
    this.#parsed.delete("");
    this.#backend.unnamed = undefined;
  }

  #prefixed(name: string): string {
    return name && this.prefix + name;
  }
}

/** The SQL of the Query and Parse messages among some requests. */
export function sqlOf(requests: Frame[]): string {
  return requests.map((request) => {
    if (messageType(request) === "Q") return readCString(request, 5).text;
    return messageType(request) === "P" ? readCString(request, readCString(request, 5).next).text : "";
  }).join("\n");
}
