import type { Envelope } from "./message.ts";
import type { Request } from "./cells.ts";

/** Requests that never get a reply, such as `comm_msg`, are forgotten when so many are newer. */
const MOST = 10_000;

/** Who asked what, for the replies on a channel to find their way back. */
export class Replies {
  readonly #asked = new Map<string, Request>();

  /** Notes a request that is passed on. */
  expect(request: Request): void {
    const id = request.envelope.header.msg_id;
    if (id === undefined) return;
    this.#asked.set(id, request);
    if (this.#asked.size > MOST) this.#asked.delete(this.#asked.keys().next().value!);
  }

  /** The request that a reply answers. */
  take(reply: Envelope): Request | undefined {
    const id = reply.parent.msg_id ?? "";
    const request = this.#asked.get(id);
    this.#asked.delete(id);
    return request;
  }
}
