import { cstring, type Frame, frame, query, readCString, type } from "./messages.ts";

/** The prepared statements that the shared backend has, from all sessions. */
export class PreparedStatements {
  readonly names: Set<string> = new Set();
  /** The session that prepared the unnamed statement. */
  unnamed: SessionStatements | undefined;
}

/** The prepared statements of one session. A prefix to their names separates them from those of other sessions. */
export class SessionStatements {
  readonly prefix: string;
  readonly #backend: PreparedStatements;
  readonly #parsed = new Map<string, Frame>();

  constructor(session: number, backend: PreparedStatements) {
    this.prefix = `s${session}.`;
    this.#backend = backend;
  }

  /** The requests with prefixed names, and requests that first prepare again what another session dropped. */
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

  /** Rewrites DEALLOCATE of a statement that the protocol prepared, as psycopg sends it. */
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

  // A simple query drops the unnamed statement of any session.
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
