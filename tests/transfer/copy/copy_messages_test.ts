import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { CopyMessages } from "../../../src/transfer/copy/messages.ts";

function message(kind: string, payload: string | Uint8Array): Buffer {
  const bytes = Buffer.from(payload as string);
  const header = Buffer.alloc(5);
  header.write(kind, "latin1");
  header.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([header, bytes]);
}

/** The result of a stream that is cut into pieces of a given size. */
function read(stream: Buffer, size: number) {
  let beside = "";
  let rest = "";
  let after = "";
  const messages = new CopyMessages({
    beside: (bytes) => beside += bytes.toString("latin1"),
    rest: (bytes) => rest += bytes.toString("latin1"),
  });
  let rows = 0;
  const payload: Uint8Array[] = [];
  for (let at = 0; at < stream.length; at += size) {
    const piece = Buffer.from(stream.subarray(at, at + size)); // it is used up
    if (messages.ended) after += piece.toString("latin1");
    else messages.push(piece);
    for (let chunk = messages.take(); chunk !== undefined; chunk = messages.take()) {
      rows += chunk.rows;
      payload.push(chunk.bytes);
    }
  }
  assert.equal(messages.waiting, 0);
  return { rows, payload: Buffer.concat(payload).toString(), beside, rest: rest + after };
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
    const { rows, payload, beside, rest } = read(stream, size);
    assert.equal(payload, `a,b\n1,dcHZ\n${"x".repeat(300)}`, `pieces of ${size}`);
    assert.equal(rows, 4);
    assert.equal(beside, message("H", Buffer.from([0, 0, 0])).toString("latin1") + notice.toString("latin1"));
    assert.equal(rest, END.toString("latin1"));
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
  const messages = new CopyMessages({ beside: () => {}, rest: () => {} });
  messages.push(Buffer.from(stream.subarray(0, 65_536)));
  assert.deepEqual(messages.take(), { bytes: new TextEncoder().encode("first\n"), rows: 1 });
  assert.equal(messages.take(), undefined);
  assert.equal(messages.waiting, 0); // what nobody can take yet holds nothing back
});

Deno.test("CopyMessages ends at an error, and passes it on unchanged", () => {
  const error = Buffer.concat([message("E", "SERROR\0C22012\0Mdivision by zero\0\0"), message("Z", "I")]);
  const { rows, rest } = read(Buffer.concat([message("d", "1\n"), error]), 7);
  assert.equal(rows, 1);
  assert.equal(rest, error.toString("latin1"));
});

Deno.test("CopyMessages refuses bytes that are no message", () => {
  for (const bytes of [[0x7b, 0, 0, 0, 9], [0x64, 0, 0, 0, 3], [0x64, 0xff, 0xff, 0xff, 0xff]]) {
    const messages = new CopyMessages({ beside: () => {}, rest: () => {} });
    assert.throws(() => messages.push(Buffer.from(bytes)), /the server sent/, `${bytes}`);
  }
});
