import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import type { Login } from "./database.ts";
import { Requests } from "./requests.ts";
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
