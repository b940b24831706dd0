import { exchange } from "../query/run.ts";
import type { Lease, Session } from "../query/session.ts";
import { CopyOut } from "./copy_exchange.ts";
import { type Chunk, type CopyItem, END_OF_COPY } from "./copy_messages.ts";

/**
 * Runs a `COPY ... TO STDOUT` and gives its rows as they come. The server sends no faster than they are taken; leaving the
 * loop early has it stop.
 *
 * @param text The statement.
 * @returns How many rows it copied.
 * @throws What the driver throws; whoever asked to stop looks at the signal.
 */
export async function* copyOut(
  session: Session,
  lease: Lease,
  text: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk, number, void> {
  const copy = new CopyOut([text]);
  for await (const chunk of run(session, lease, copy, signal)) if (chunk !== END_OF_COPY) yield chunk;
  return Number(/ (\d+)$/.exec(copy.tag)?.[1] ?? 0);
}

/**
 * {@linkcode copyOut} of several statements. Each is sent when the one before it begins, so that the server need not wait for
 * it: a round trip for each would be time without rows. They must be of one transaction, where after a failure none runs.
 *
 * @param texts The statements, each asked for when it can be sent.
 */
export function copyOutSeries(
  session: Session,
  lease: Lease,
  texts: Iterable<string>,
  signal: AbortSignal | undefined,
): AsyncGenerator<CopyItem, void, void> {
  return run(session, lease, new CopyOut(texts), signal);
}

async function* run(
  session: Session,
  lease: Lease,
  copy: CopyOut,
  signal: AbortSignal | undefined,
): AsyncGenerator<CopyItem, void, void> {
  const leaving = new AbortController();
  const stopped = signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal]);
  const letGo = () => copy.discard();
  stopped.addEventListener("abort", letGo, { once: true });
  if (stopped.aborted) letGo();
  const finished = exchange(session, lease, stopped, copy);
  finished.then(() => copy.end(), () => copy.end());
  try {
    for (;;) {
      const chunk = await copy.next();
      if (chunk === undefined) break;
      yield chunk;
    }
    await finished;
    stopped.throwIfAborted(); // what came after that was dropped, though the server may have ended before it was canceled
    yield END_OF_COPY;
  } finally {
    if (!copy.over) leaving.abort();
    await finished.catch(() => {});
    stopped.removeEventListener("abort", letGo);
    copy.detach();
  }
}
