import assert from "node:assert/strict";
import { parseStartup } from "../../src/local/connection.ts";
import {
  cstring,
  errorResponse,
  frame,
  Framer,
  int32,
  messageType,
  query,
  readCString,
  readFields,
  readRow,
  ResponseScanner,
} from "../../src/local/messages.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

Deno.test("parseStartup() distinguishes the packets", () => {
  assert.deepEqual(parseStartup(int32(80877103)), { kind: "ssl" });
  assert.deepEqual(parseStartup(int32(80877104)), { kind: "gss" });
  assert.deepEqual(parseStartup(new Uint8Array([...int32(80877102), ...int32(7), 1, 2, 3, 4])), {
    kind: "cancel",
    process: 7,
    secret: new Uint8Array([1, 2, 3, 4]),
  });
  assert.deepEqual(parseStartup(new Uint8Array([...int32(196608), ...text("user\0you\0database\0d\0\0")])), {
    kind: "startup",
    minor: 0,
    parameters: new Map([["user", "you"], ["database", "d"]]),
    unknownOptions: [],
  });
  assert.deepEqual(parseStartup(new Uint8Array([...int32(196610), ...text("user\0you\0_pq_.x\0on\0\0")])), {
    kind: "startup",
    minor: 2,
    parameters: new Map([["user", "you"]]),
    unknownOptions: ["_pq_.x"],
  });
  assert.deepEqual(parseStartup(new Uint8Array([1])), { kind: "unsupported" });
  assert.deepEqual(parseStartup(int32(80877102)), { kind: "unsupported" });
  const refused = (packet: Uint8Array) => {
    const read = parseStartup(packet);
    return read.kind === "unsupported" && `${read.failure?.sqlstate} ${read.failure?.message}`;
  };
  for (const major of [2, 4]) {
    assert.equal(
      refused(int32(major << 16)),
      `0A000 unsupported frontend protocol ${major}.0: server supports 3.0 to 3.0`,
    );
  }
  const unterminated = new Uint8Array([...int32(196608), ...text("user\0you")]);
  assert.equal(refused(unterminated), "08P01 invalid startup packet layout: expected terminator as last byte");
});

Deno.test("Framer gives the same messages wherever the bytes are cut", () => {
  const messages = [query("SELECT 1"), frame("S"), frame("d", new Uint8Array(1000).fill(7)), frame("X")];
  const bytes = new Uint8Array(messages.flatMap((message) => [...message]));
  for (const size of [1, 2, 3, 5, 7, 64, bytes.length]) {
    const framer = new Framer();
    const found: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      framer.push(bytes.slice(at, at + size));
      for (let next = framer.next(); next; next = framer.next()) found.push(next);
    }
    assert.deepEqual(found.map(String), messages.map(String), `cut into ${size}`);
    assert.equal(framer.buffered, 0);
  }
});

Deno.test("Framer refuses an impossible length", () => {
  for (const length of [-1, 0, 3, 0x7fffffff]) {
    const framer = new Framer();
    framer.push(new Uint8Array([81, ...int32(length)]));
    assert.throws(() => framer.next(), RangeError);
  }
});

Deno.test("errorResponse() carries its fields, and leaves out what is missing", () => {
  const failure = { sqlstate: "28000", message: "no é", detail: "d", hint: undefined };
  assert.deepEqual(readFields(errorResponse(failure, "FATAL")), {
    S: "FATAL",
    V: "FATAL",
    C: "28000",
    M: "no é",
    D: "d",
  });
});

Deno.test("readRow() reads texts and nulls", () => {
  const columns = [text("é"), undefined, text("")];
  const parts = columns.flatMap((column) => column ? [int32(column.length), column] : [int32(-1)]);
  assert.deepEqual(readRow(frame("D", new Uint8Array([0, 3]), ...parts)), ["é", null, ""]);
});

Deno.test("readCString() stops at the zero byte or at the end of the message", () => {
  const message = frame("Q", text("ab\0cd"));
  assert.deepEqual(readCString(message, 5), { text: "ab", next: 8 });
  assert.deepEqual(readCString(message, 8), { text: "cd", next: 11 });
  assert.equal(messageType(message), "Q");
});

const notification = (channel: string) => frame("A", int32(42), cstring(channel), cstring("payload"));
const stream = (...messages: Uint8Array[]) => new Uint8Array(messages.flatMap((message) => [...message]));

function scan(scanner: ResponseScanner, bytes: Uint8Array, size: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    // The scanner may keep only copies, because PGlite overwrites its buffer.
    const chunk = bytes.slice(at, at + size);
    parts.push(...scanner.scan(chunk).map((part) => part.slice()));
    chunk.fill(0);
  }
  return stream(...parts);
}

Deno.test("ResponseScanner passes all messages on wherever the bytes are cut, and records their effects", () => {
  const rows = Array.from({ length: 20 }, () => frame("D", new Uint8Array(100).fill(3)));
  const bytes = stream(...rows, frame("C", cstring("SET")), frame("C", cstring("SELECT 20")), frame("Z", cstring("T")));
  for (const size of [1, 3, 4, 5, 6, 50, 1000, bytes.length]) {
    const scanner = new ResponseScanner();
    const passed = scan(scanner, bytes, size);
    const held = scanner.outcome.ready!; // the new values must be sent before it
    assert.deepEqual(stream(passed, held), bytes, `cut into ${size}`);
    assert.equal(scanner.outcome.status, "T");
    assert.deepEqual([...scanner.outcome.tags], ["SET"]);
  }
});

Deno.test("ResponseScanner holds back notifications that the session doesn't listen to", () => {
  const bytes = stream(notification("mine"), notification("theirs"), frame("Z", new Uint8Array([73])));
  const scanner = new ResponseScanner("", new Set(["mine"]));
  assert.deepEqual(scan(scanner, bytes, 4), stream(notification("mine"), frame("Z", new Uint8Array([73]))));
  assert.deepEqual(scanner.outcome.notifications, [notification("mine"), notification("theirs")]);
});

Deno.test("ResponseScanner removes the session's prefix from the names in errors", () => {
  const failure = { sqlstate: "26000", message: 'prepared statement "s7.mine" does not exist' };
  const passed = scan(new ResponseScanner("s7."), errorResponse(failure), 9);
  assert.equal(readFields(passed)["M"], 'prepared statement "mine" does not exist');
});
