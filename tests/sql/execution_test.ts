import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Opening, openingMessages } from "../../src/sql/execution.ts";

/** The messages in a buffer: the code, and the body as text with a dot for each zero. */
function messagesOf(bytes: Buffer): [code: string, body: string][] {
  const messages: [string, string][] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    assert.ok(end <= bytes.length, "a message is longer than what is sent");
    messages.push([String.fromCharCode(bytes[at]!), bytes.subarray(at + 5, end).toString().replaceAll("\0", ".")]);
    at = end;
  }
  return messages;
}

const int32 = (value: number) => String.fromCharCode(0, 0, value >> 8, value & 255).replaceAll("\0", ".");

Deno.test("openingMessages() follows PostgreSQL's protocol", () => {
  const cases: [Opening, [string, string][]][] = [
    [{ text: "SELECT 1", values: [], rows: 0, last: "sync" }, [
      ["P", ".SELECT 1..."],
      ["B", ".......\x01.."],
      ["D", "P."],
      ["E", "....."],
      ["S", ""],
    ]],
    [{ text: "SELECT $1, $2, $3", values: ["é1", null, Buffer.from("ab")], portal: "p", rows: 258, last: "flush" }, [
      ["P", ".SELECT $1, $2, $3..."],
      ["B", `p...\x03.....\x01.\x03${int32(3)}é1\ufffd\ufffd\ufffd\ufffd${int32(2)}ab.\x01..`],
      ["D", "Pp."],
      ["E", "p...\x01\x02"],
      ["H", ""],
    ]],
  ];
  for (const [opening, expected] of cases) assert.deepEqual(messagesOf(openingMessages(opening)), expected);
});

Deno.test("openingMessages() keeps texts of every length and alphabet", () => {
  for (const letters of ["a", "é", "漢", "😀"]) {
    for (const length of [1, 99, 100, 199, 200, 201, 5000]) {
      for (const value of [letters.repeat(length), "a".repeat(length) + letters, letters + "a".repeat(length)]) {
        const messages = messagesOf(openingMessages({ text: value, values: [value], rows: 0, last: "sync" }));
        assert.deepEqual(messages[0], ["P", `.${value}...`]);
        assert.ok(messages[1]![1].endsWith(`${value}.\x01..`));
        assert.deepEqual(messages.map(([code]) => code).join(""), "PBDES");
      }
    }
  }
});
