import assert from "node:assert/strict";
import { ZmtpReader } from "../../src/kernel/message_reader.ts";
import {
  encodeMessage,
  greeting,
  greetingError,
  MAX_FRAME_BYTES,
  type Message,
  pong,
  readCommand,
  readFrameHeader,
  readProperties,
  readSubscription,
  ready,
} from "../../src/kernel/zmtp.ts";

const text = (value: string) => new TextEncoder().encode(value);

function messageOf(raw: Uint8Array<ArrayBuffer>): Message {
  const { message } = new ZmtpReader().feed(raw);
  assert.ok(message);
  return message;
}

Deno.test("a greeting is read", () => {
  const other = (change: (bytes: Uint8Array) => void) => {
    const bytes = greeting();
    change(bytes);
    return greetingError(bytes);
  };
  assert.equal(other(() => {}), undefined);
  assert.equal(other((bytes) => bytes[11] = 1), undefined); // 3.1
  assert.equal(other((bytes) => bytes[8] = 1), undefined); // libzmq fills the padding
  assert.match(other((bytes) => bytes[0] = 0x47)!, /does not speak ZMTP/); // "GET / HTTP"
  assert.match(other((bytes) => bytes[10] = 1)!, /ZMTP 1; expected ZMTP 3/);
  assert.match(other((bytes) => bytes.set(text("CURVE"), 12))!, /"CURVE"; only NULL is supported/);
});

Deno.test("a READY command has the socket type and the identity", () => {
  const { frames: [body], command } = messageOf(ready("DEALER", text("me")));
  assert.ok(command);
  const { name, data } = readCommand(body!)!;
  assert.equal(name, "READY");
  const properties = [...readProperties(data)!].map(([name, value]) => [name, new TextDecoder().decode(value)]);
  assert.deepEqual(properties, [["socket-type", "DEALER"], ["identity", "me"]]);
  for (let end = 1; end < data.length; end++) {
    const cut = readProperties(data.subarray(0, end));
    assert.ok(cut === undefined || cut.size === 1, `cut at ${end}`);
  }
  assert.equal(readCommand(new Uint8Array()), undefined);
  assert.equal(readCommand(Uint8Array.of(9, 65)), undefined);
});

Deno.test("a subscription of ZMTP 3.0 or 3.1 is read", () => {
  const subscription = (raw: number[]) => {
    const read = readSubscription(messageOf(new Uint8Array(raw)));
    return read && [read.on, new TextDecoder().decode(read.topic)];
  };
  assert.deepEqual(subscription([0, 1, 1]), [true, ""]);
  assert.deepEqual(subscription([0, 3, 1, 65, 66]), [true, "AB"]);
  assert.deepEqual(subscription([0, 1, 0]), [false, ""]);
  assert.deepEqual(subscription([4, 10, 9, ...text("SUBSCRIBE")]), [true, ""]);
  assert.deepEqual(subscription([4, 8, 6, ...text("CANCEL"), 65]), [false, "A"]);
  assert.equal(subscription([0, 1, 7]), undefined);
  assert.equal(subscription([0, 0]), undefined);
  assert.equal(subscription([4, 5, 4, ...text("PING")]), undefined);
});

Deno.test("a PING is answered with its context", () => {
  const ping = new Uint8Array([4, 9, 4, ...text("PING"), 0, 100, 7, 8]);
  assert.deepEqual([...pong(messageOf(ping))!], [4, 7, 4, ...text("PONG"), 7, 8]);
  assert.equal(pong(messageOf(encodeMessage([text("PING")]))), undefined);
});

Deno.test("a frame's header is read when it is complete", () => {
  assert.equal(readFrameHeader(new Uint8Array()), undefined);
  assert.equal(readFrameHeader(Uint8Array.of(0)), undefined);
  assert.deepEqual(readFrameHeader(Uint8Array.of(1, 5)), { size: 2, length: 5, more: true, command: false });
  const long = [2, 0, 0, 0, 0, 0, 1, 0, 0];
  assert.equal(readFrameHeader(new Uint8Array(long.slice(0, 8))), undefined);
  assert.deepEqual(readFrameHeader(new Uint8Array(long)), { size: 9, length: 65_536, more: false, command: false });
  assert.throws(() => readFrameHeader(Uint8Array.of(0x47, 0x45)), /flags are 0x47/);
  assert.throws(() => readFrameHeader(new Uint8Array([2, 255, 0, 0, 0, 0, 0, 0, 0])), /the maximum is/);
  assert.throws(
    () => readFrameHeader(new Uint8Array([3, 0, 0, 0, 0, 0xff, 0, 0, 0])),
    new RegExp(`${MAX_FRAME_BYTES}`),
  );
});
