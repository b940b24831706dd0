import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  CopyEnd,
  type CopyItem,
  CopyMessages,
  type CopyOutcome,
  END_OF_COPY,
  withoutFraming,
} from "../../../src/transfer/copy/messages.ts";

function message(kind: string, payload: string | Uint8Array): Buffer {
  const bytes = Buffer.from(payload as string);
  const header = Buffer.alloc(5);
  header.write(kind, "latin1");
  header.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([header, bytes]);
}

/** What CopyMessages makes of a stream that is cut into pieces of a given size. */
function read(stream: Buffer, size: number) {
  let betweenRows = "";
  let afterRows = "";
  let after = "";
  const messages = new CopyMessages({
    betweenRows: (bytes) => betweenRows += bytes.toString("latin1"),
    afterRows: (bytes) => afterRows += bytes.toString("latin1"),
  });
  let rows = 0;
  const payload: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += size) {
    const piece = Buffer.from(stream.subarray(at, at + size)); // CopyMessages overwrites it
    if (messages.ended) after += piece.toString("latin1");
    else messages.push(piece);
    for (let chunk = messages.take(); chunk !== undefined; chunk = messages.take()) {
      rows += chunk.rows;
      payload.push(chunk.bytes);
    }
  }
  assert.equal(messages.waiting, 0);
  return { rows, payload: Buffer.concat(payload).toString(), betweenRows, afterRows: afterRows + after };
}

const END = Buffer.concat([message("c", ""), message("C", "COPY 4\0"), message("Z", "I")]);

Deno.test("CopyMessages gives the same rows however the stream is cut", () => {
  const notice = message("N", "careful\0");
  const stream = Buffer.concat([
    message("H", Buffer.from([0, 0, 0])),
    message("d", "a,b\n"),
    message("d", ""),
    notice,
    message("d", "1,dcHZ\n"),
    message("d", "x".repeat(300)),
    END,
  ]);
  for (let size = 1; size <= stream.length; size++) {
    const { rows, payload, betweenRows, afterRows } = read(stream, size);
    assert.equal(payload, `a,b\n1,dcHZ\n${"x".repeat(300)}`, `pieces of ${size}`);
    assert.equal(rows, 4);
    assert.equal(betweenRows, message("H", Buffer.from([0, 0, 0])).toString("latin1") + notice.toString("latin1"));
    assert.equal(afterRows, END.toString("latin1"));
  }
});

Deno.test("CopyMessages gives whole messages, and a long one as a chunk of its own", () => {
  const long = "y".repeat(400_000);
  const stream = Buffer.concat([message("d", "first\n"), message("d", long), message("d", "last\n"), END]);
  for (const size of [999, 65_536, stream.length]) {
    const { rows, payload } = read(stream, size);
    assert.equal(rows, 3);
    assert.equal(payload, `first\n${long}last\n`);
  }
  const messages = new CopyMessages({ betweenRows: () => {}, afterRows: () => {} });
  messages.push(Buffer.from(stream.subarray(0, 65_536)));
  assert.deepEqual(messages.take(), { bytes: new TextEncoder().encode("first\n"), rows: 1 });
  assert.equal(messages.take(), undefined);
  assert.equal(messages.waiting, 0); // an incomplete message does not count
});

Deno.test("CopyMessages ends at an error, and passes it on unchanged", () => {
  const error = Buffer.concat([message("E", "SERROR\0C22012\0Mdivision by zero\0\0"), message("Z", "I")]);
  const { rows, afterRows } = read(Buffer.concat([message("d", "1\n"), error]), 7);
  assert.equal(rows, 1);
  assert.equal(afterRows, error.toString("latin1"));
});

Deno.test("CopyMessages refuses bytes that are not a message", () => {
  for (const bytes of [[0x7b, 0, 0, 0, 9], [0x64, 0, 0, 0, 3], [0x64, 0xff, 0xff, 0xff, 0xff]]) {
    const messages = new CopyMessages({ betweenRows: () => {}, afterRows: () => {} });
    assert.throws(() => messages.push(Buffer.from(bytes)), /the server sent/, `${bytes}`);
  }
});

function error(severity: string, text: string): Buffer {
  return message("E", `S${severity}\0V${severity}\0C22012\0M${text}\0\0`);
}

const COPY_ENDED = [message("c", ""), message("C", "COPY 3\0"), message("Z", "T")];
const NEXT_COPY = [message("H", "\0\0\0"), message("d", "row\n")];

/** The outcome of messages that arrive in pieces of a given size, with all bytes after it. */
function outcome(messages: readonly Buffer[], size: number): Record<string, string> {
  const stream = Buffer.concat(messages);
  const end = new CopyEnd();
  let found: CopyOutcome | undefined;
  let after = "";
  for (let at = 0; at < stream.length; at += size) {
    const piece = Buffer.from(stream.subarray(at, at + size));
    if (found !== undefined) after += piece.toString("latin1");
    else found = end.push(piece);
  }
  return Object.fromEntries(
    Object.entries(found ?? {}).map(([kind, bytes]) => [kind, bytes.toString("latin1") + after]),
  );
}

const joined = (...messages: Buffer[]) => Buffer.concat(messages).toString("latin1");

const CASES: { what: string; messages: Buffer[]; expected: Record<string, string> }[] = [
  { what: "an end", messages: [...COPY_ENDED, ...NEXT_COPY], expected: { next: joined(...NEXT_COPY) } },
  { what: "an end with nothing after it", messages: COPY_ENDED, expected: { next: "" } },
  { what: "a notice before the end", messages: [message("N", "hear\0"), ...COPY_ENDED], expected: { next: "" } },
  {
    what: "an error, after which the error of the next COPY is dropped",
    messages: [error("ERROR", "first"), message("Z", "E"), error("ERROR", "aborted"), message("Z", "E")],
    expected: { forDriver: joined(error("ERROR", "first"), message("Z", "E")) },
  },
  {
    what: "an error after the rows",
    messages: [message("c", ""), error("ERROR", "late"), message("Z", "E"), error("ERROR", "x"), message("Z", "E")],
    expected: { forDriver: joined(error("ERROR", "late"), message("Z", "E")) },
  },
  {
    what: "an error that ends the connection",
    messages: [error("FATAL", "terminated")],
    expected: { forDriver: joined(error("FATAL", "terminated")) },
  },
  { what: "an error without its second end", messages: [error("ERROR", "first"), message("Z", "E")], expected: {} },
];

Deno.test("CopyEnd finds the outcome of a COPY that another one follows, however the stream is cut", () => {
  for (const { what, messages, expected } of CASES) {
    for (let size = 1; size <= Buffer.concat(messages).length; size++) {
      assert.deepEqual(outcome(messages, size), expected, `${what}, in pieces of ${size}`);
    }
  }
});

/** A header whose extension has a given number of bytes. */
function header(extension: number): number[] {
  const signature = [...new TextEncoder().encode("PGCOPY\n"), 0xff, 13, 10, 0];
  return [...signature, 0, 0, 0, 0, 0, 0, 0, extension, ...new Array(extension).fill(7)];
}

const TRAILER = [0xff, 0xff];

/** What is kept of a series of COPYs, each given as chunks of messages. */
async function kept(copies: number[][][][], keepHeader: boolean): Promise<{ bytes: number[]; rows: number }> {
  const stream = async function* (): AsyncGenerator<CopyItem> {
    for (const chunks of copies) {
      for (const messages of chunks) {
        // Part of a larger buffer, as from a socket.
        const buffer = Uint8Array.from([9, 9, 9, ...messages.flat()]);
        yield { bytes: buffer.subarray(3), rows: messages.length };
        await Promise.resolve();
      }
      yield END_OF_COPY;
    }
  };
  const all = { bytes: [] as number[], rows: 0 };
  let ends = 0;
  for await (const item of withoutFraming(stream(), keepHeader)) {
    if (item === END_OF_COPY) {
      ends++;
      continue;
    }
    assert.ok(item.bytes.length > 0);
    all.bytes.push(...item.bytes);
    all.rows += item.rows;
  }
  assert.equal(ends, copies.length);
  return all;
}

Deno.test("withoutFraming() keeps only the rows, wherever the chunks are cut", async () => {
  const rows = [[0, 1, 1], [0, 1, 2], [0, 1, 0xff, 0xff]];
  for (const extension of [0, 5]) {
    const head = header(extension);
    const messages = [[...head, ...rows[0]!], rows[1]!, rows[2]!, TRAILER];
    const cuts = [
      [messages],
      messages.map((message) => [message]),
      [messages.slice(0, 1), messages.slice(1)],
      [messages.slice(0, 3), messages.slice(3)],
    ];
    for (const chunks of cuts) {
      assert.deepEqual(await kept([chunks], false), { bytes: rows.flat(), rows: 3 });
      assert.deepEqual(await kept([chunks], true), { bytes: [...head, ...rows.flat()], rows: 3 });
      const twice = [...rows.flat(), ...rows.flat()];
      assert.deepEqual(await kept([chunks, chunks], true), { bytes: [...head, ...twice], rows: 6 });
    }
    // Without rows, header and trailer are one message.
    assert.deepEqual(await kept([[[[...head, ...TRAILER]]]], false), { bytes: [], rows: 0 });
    assert.deepEqual(await kept([[[[...head, ...TRAILER]]]], true), { bytes: head, rows: 0 });
  }
  assert.deepEqual(await kept([], false), { bytes: [], rows: 0 });
});
