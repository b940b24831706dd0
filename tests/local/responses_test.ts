import assert from "node:assert/strict";
import { cstring, errorResponse, frame, int32, readFields } from "../../src/local/messages.ts";
import { ResponseScanner } from "../../src/local/responses.ts";

const notification = (channel: string) => frame("A", int32(42), cstring(channel), cstring("payload"));
const stream = (...messages: Uint8Array[]) => new Uint8Array(messages.flatMap((message) => [...message]));

function scan(scanner: ResponseScanner, bytes: Uint8Array, size: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    // The scanner may only keep what it has copied: PGlite writes over its buffer.
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
    const held = scanner.outcome.ready!; // what the SET has changed is told before it
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
