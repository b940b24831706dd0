import { parentPort } from "node:worker_threads";
import { boundLists } from "./arrow/open.ts";
import type { FromReader, ToReader } from "./columnar_reader.ts";
import { type CopyRows, copyRows } from "./copy_rows.ts";
import { fileName, type FileRows, unreadable } from "./file_rows.ts";

boundLists();

let name = fileName(undefined);
let file: FileRows | undefined;
let copy: AsyncIterator<CopyRows> | undefined;
let bytes = Promise.withResolvers<Uint8Array | undefined>();

// Without this handler, an uncaught error in a library would end the worker, and the runtime would print the error.
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  say({ kind: "failed", message: unreadable(name, `it is damaged (${event.message})`).message });
});

parentPort!.on("message", (message: ToReader) => {
  if (message.kind === "bytes") bytes.resolve(message.bytes);
  else answer(message).catch((error) => say({ kind: "failed", message: messageOf(error) }));
});

async function answer(question: Exclude<ToReader, { kind: "bytes" }>): Promise<void> {
  switch (question.kind) {
    case "open": {
      name = fileName(question.path);
      await file?.[Symbol.asyncDispose](); // the previous file
      file = await open(question.format, question.path);
      return say({ kind: "opened", columns: file.columns });
    }
    case "copy":
      // The main thread creates the final error, because it marks the options in the text.
      copy = copyRows(file!, question.choice, (state) => new Error(`Cannot load: ${state}`));
      return;
    case "next": {
      // The main thread may ask for several pieces at once; the iterator answers in order.
      const { value, done } = await copy!.next();
      if (done) say({ kind: "rows", rows: undefined });
      else say({ kind: "rows", rows: value }, [value.bytes.buffer as ArrayBuffer]);
    }
  }
}

async function open(format: "arrow" | "parquet", path: string | undefined): Promise<FileRows> {
  if (format === "parquet") return await (await import("./parquet/open.ts")).openParquet(path!);
  return await (await import("./arrow/open.ts")).openArrow(path ?? requestedBytes());
}

/** Requests the bytes of a stream from the main thread, because only the main thread can read it. */
async function* requestedBytes(): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    bytes = Promise.withResolvers();
    say({ kind: "more" });
    const chunk = await bytes.promise;
    if (chunk === undefined) return;
    yield chunk;
  }
}

function say(message: FromReader, transfer: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, transfer);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
