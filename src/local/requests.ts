import type { Connection } from "./connection.ts";
import { type Frame, Framer, ready, type } from "./messages.ts";
import { Refused } from "./refused.ts";

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
