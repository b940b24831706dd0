import assert from "node:assert/strict";
import { ZmtpReader } from "../../src/kernel/message_reader.ts";
import { contentOf, type Envelope, openMessage, Signer } from "../../src/kernel/message.ts";
import { encodeMessage } from "../../src/kernel/zmtp.ts";

const text = (value: string) => new TextEncoder().encode(value);
const DELIMITER = text("<IDS|MSG>");

function opened(raw: Uint8Array<ArrayBuffer>): Envelope {
  const envelope = openMessage(new ZmtpReader().feed(raw).message!);
  assert.ok(envelope);
  return envelope;
}

Deno.test("a message has Jupyter's signature", async () => {
  const signer = new Signer("a key");
  const envelope = opened(signer.make("status", { execution_state: "idle" }, { msg_id: "1" }));
  const key = await crypto.subtle.importKey("raw", text("a key"), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signed = await crypto.subtle.sign("HMAC", key, await new Blob(envelope.parts as BlobPart[]).arrayBuffer());
  assert.equal(new TextDecoder().decode(envelope.signature), new Uint8Array(signed).toHex());
  assert.deepEqual(contentOf(envelope), { execution_state: "idle" });
  assert.deepEqual([envelope.header.msg_type, envelope.parent], ["status", { msg_id: "1" }]);
  assert.ok(signer.verifies(envelope));
  assert.ok(!new Signer("another").verifies(envelope));
});

Deno.test("an edited message keeps the bytes of its other parts, its identities and its buffers", () => {
  const signer = new Signer("a key");
  // With spaces and an order that JSON.stringify would not reproduce.
  const parts = ['{ "msg_type": "x",  "msg_id": "7" }', "{}", '{"b":1,"a": 2}', '{"code": "1"}'].map(text);
  const raw = encodeMessage([text("who"), DELIMITER, text("00"), ...parts, Uint8Array.of(1, 2), text("")]);
  const envelope = opened(raw);
  assert.ok(!signer.verifies(envelope));
  const edited = opened(signer.edit(envelope, { content: { code: "2 ☃" } }));
  assert.ok(signer.verifies(edited));
  assert.deepEqual(edited.parts.slice(0, 3), parts.slice(0, 3));
  assert.deepEqual(contentOf(edited), { code: "2 ☃" });
  assert.deepEqual([edited.identities, edited.buffers], [envelope.identities, envelope.buffers]);
  assert.deepEqual(opened(signer.edit(envelope, { parent: { msg_id: "p" } })).parent, { msg_id: "p" });
});

Deno.test("an empty key signs nothing", () => {
  const signer = new Signer("");
  const envelope = opened(signer.make("status", {}));
  assert.equal(envelope.signature.length, 0);
  assert.ok(signer.verifies(envelope));
});

Deno.test("bytes that are not a Jupyter message are not opened", () => {
  const json = text("{}");
  const cases: [string, Uint8Array[]][] = [
    ["nothing", [text("")]],
    ["no delimiter", [text("a"), json, json, json, json]],
    ["a part is missing", [DELIMITER, text(""), json, json, json]],
    ["no JSON", [DELIMITER, text(""), text("{"), json, json, json]],
    ["no UTF-8 in JSON", [DELIMITER, text(""), Uint8Array.of(0xff), json, json, json]],
  ];
  for (const [name, frames] of cases) {
    assert.equal(openMessage(new ZmtpReader().feed(encodeMessage(frames)).message!), undefined, name);
  }
  const odd = opened(encodeMessage([DELIMITER, text(""), text("null"), text("3"), json, text("[]")]));
  assert.deepEqual([odd.header, odd.parent], [{}, {}]);
});
