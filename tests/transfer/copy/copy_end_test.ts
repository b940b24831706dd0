import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { CopyEnd, type CopyOutcome } from "../../../src/transfer/copy/copy_out.ts";

function message(kind: string, payload: string): Buffer {
  const header = Buffer.alloc(5);
  header.write(kind, "latin1");
  header.writeInt32BE(payload.length + 4, 1);
  return Buffer.concat([header, Buffer.from(payload, "latin1")]);
}

function error(severity: string, text: string): Buffer {
  return message("E", `S${severity}\0V${severity}\0C22012\0M${text}\0\0`);
}

const DONE = [message("c", ""), message("C", "COPY 3\0"), message("Z", "T")];
const NEXT = [message("H", "\0\0\0"), message("d", "row\n")];

/**
 * The outcome of bytes that arrive in pieces of a given size, and the bytes that arrive with the last piece or after
 * it.
 */
function outcome(arriving: readonly Buffer[], size: number): Record<string, string> {
  const stream = Buffer.concat(arriving);
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

const CASES: { what: string; arriving: Buffer[]; found: Record<string, string> }[] = [
  { what: "an end", arriving: [...DONE, ...NEXT], found: { next: joined(...NEXT) } },
  { what: "an end with nothing behind it", arriving: DONE, found: { next: "" } },
  { what: "a notice before the end", arriving: [message("N", "hear\0"), ...DONE], found: { next: "" } },
  {
    what: "an error: the following one's is passed over",
    arriving: [error("ERROR", "first"), message("Z", "E"), error("ERROR", "aborted"), message("Z", "E")],
    found: { rest: joined(error("ERROR", "first"), message("Z", "E")) },
  },
  {
    what: "an error behind the rows",
    arriving: [message("c", ""), error("ERROR", "late"), message("Z", "E"), error("ERROR", "x"), message("Z", "E")],
    found: { rest: joined(error("ERROR", "late"), message("Z", "E")) },
  },
  {
    what: "the end of the connection, at once",
    arriving: [error("FATAL", "terminated")],
    found: { rest: joined(error("FATAL", "terminated")) },
  },
  { what: "an error without its second end", arriving: [error("ERROR", "first"), message("Z", "E")], found: {} },
];

Deno.test("CopyEnd finds the outcome of a COPY that another one follows, however the stream is cut", () => {
  for (const { what, arriving, found } of CASES) {
    for (let size = 1; size <= Buffer.concat(arriving).length; size++) {
      assert.deepEqual(outcome(arriving, size), found, `${what}, in pieces of ${size}`);
    }
  }
});
