import type { EventEmitter } from "node:events";

/** Something the server said beside its answer, such as `RAISE NOTICE` does. */
export interface Notice {
  /** `NOTICE`, `WARNING`, `INFO`, ... */
  severity: string;
  /** What it said. */
  message: string;
  /** More of it. */
  detail?: string;
  /** What to do. */
  hint?: string;
}

/** What is used of `pg`'s connection: the messages of the extended query protocol. */
export interface Wire extends EventEmitter {
  /** What the server last reported of the session's settings; there where the pool has made the connection. */
  readonly reported?: ReadonlyMap<string, string>;
  /** The socket. */
  stream: { writable: boolean; write(bytes: Uint8Array): boolean; cork?(): void; uncork?(): void };
  /** A simple query. */
  query(text: string): void;
  /** `Parse`. */
  parse(message: { text: string }): void;
  /** `Describe`. */
  describe(message: { type: "P" | "S"; name: string }): void;
  /** `Execute`. */
  execute(message: { portal: string; rows?: number }): void;
  /** `Close`. */
  close(message: { type: "P"; name: string }): void;
  /** `Flush`. */
  flush(): void;
  /** `Sync`. */
  sync(): void;
  /** `CopyFail`. */
  sendCopyFail(message: string): void;
}
