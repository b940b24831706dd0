import { parentPort } from "node:worker_threads";
import { limitListLengths } from "./arrow/apache_arrow.ts";
import type { FromReader, ToReader } from "./columnar_reader.ts";
import { type CopyRows, copyRows } from "./copy_rows.ts";
import { BlockFile, fileName, type FileRows, unreadable } from "./file_rows.ts";

limitListLengths();

let name = fileName(undefined);
let file: FileRows | undefined;
/** The number of further pieces that the main thread takes now. */
let wanted = 0;
let onWanted: (() => void) | undefined;
let bytes = Promise.withResolvers<Uint8Array | undefined>();

// Without this handler, an uncaught error in a library would end the worker, and the runtime would print the error.
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  post({ kind: "failed", message: unreadable(name, `it is damaged (${event.message})`).message });
});

parentPort!.on("message", (message: ToReader) => {
  if (message.kind === "bytes") bytes.resolve(message.bytes && new Uint8Array(message.bytes));
  else if (message.kind === "range") ranges.get(message.id)?.(new Uint8Array(message.bytes));
  else if (message.kind === "next") sendMore();
  else answer(message).catch((error) => post({ kind: "failed", message: messageOf(error) }));
});

async function answer(question: Extract<ToReader, { kind: "open" | "copy" }>): Promise<void> {
  switch (question.kind) {
    case "open": {
      name = question.name;
      await file?.[Symbol.asyncDispose](); // the previous file
      ranges.clear(); // the ranges of the previous file are no longer needed
      file = await open(question);
      return post({ kind: "opened", columns: file.columns });
    }
    case "copy":
      // The main thread creates the final error, because it marks the options in the text.
      wanted = question.ahead;
      return await send(copyRows(file!, question.choice, (state) => new Error(`Cannot load: ${state}`)));
  }
}

/** Sends rows, at most as many pieces as the main thread takes. */
async function send(copy: AsyncIterable<CopyRows>): Promise<void> {
  for await (const rows of copy) {
    while (wanted === 0) await new Promise<void>((resolve) => onWanted = resolve);
    wanted--;
    post({ kind: "rows", rows }, [rows.bytes.buffer as ArrayBuffer]);
  }
  post({ kind: "rows", rows: undefined });
}

function sendMore(): void {
  wanted++;
  onWanted?.();
}

async function open({ format, path, ranges }: ToReader & { kind: "open" }): Promise<FileRows> {
  const file = path ?? (ranges && new BlockFile(name, ranges.size, requestedRange));
  if (format === "parquet") return await (await import("./parquet/read/open.ts")).openParquet(file!, name);
  const { openArrow, openArrowStreams } = await import("./arrow/open.ts");
  return format === "arrow streams"
    ? await openArrowStreams(requestedBytes())
    : await openArrow(file ?? requestedBytes(), name);
}

/** Requests the bytes of a stream from the main thread, because only the main thread can read it. */
async function* requestedBytes(): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    bytes = Promise.withResolvers();
    post({ kind: "more" });
    const chunk = await bytes.promise;
    if (chunk === undefined) return;
    yield chunk;
  }
}

/** The ranges that were requested from the main thread, by number. The numbers continue from file to file. */
const ranges = new Map<number, (bytes: Uint8Array<ArrayBuffer>) => void>();
let lastRange = 0;

/** Requests a range of a store's file from the main thread, which has the login. */
function requestedRange(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const id = ++lastRange;
  const { promise, resolve } = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
  ranges.set(id, resolve);
  post({ kind: "range", id, from, length });
  return promise.finally(() => ranges.delete(id));
}

function post(message: FromReader, transfer: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, transfer);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
