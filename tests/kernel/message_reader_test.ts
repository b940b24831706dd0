import { joinBytes } from "../../src/core/bytes.ts";
import assert from "node:assert/strict";
import { openMessage, Signer } from "../../src/kernel/message.ts";
import { IopubReader, ZmtpReader } from "../../src/kernel/message_reader.ts";
import { encodeMessage, type Message } from "../../src/kernel/zmtp.ts";
import { newSeed, randomFrom, sized } from "../support/random.ts";

const signer = new Signer("key");

function isSigned(message: Message): boolean {
  const envelope = openMessage(message);
  return envelope !== undefined && signer.verifies(envelope);
}

/** A message's signature, which is valid only for the whole message. */
function label(message: Message): string {
  const signature = new TextDecoder().decode(message.frames[1]);
  return isSigned(message) ? `${signature.slice(0, 12)} ${message.raw.length}` : `spoilt ${signature.slice(0, 12)}`;
}

function labelOf(raw: Uint8Array<ArrayBuffer>): string {
  return label(iopubReader().push(raw)[0]!);
}

function iopubReader(errors: Error[] = []): IopubReader {
  return new IopubReader({ isSigned, onError: (error) => errors.push(error) });
}

/** The messages that are read from a stream in pieces of a given length. */
function read(stream: Uint8Array, step: number, errors?: Error[]): string[] {
  const reader = iopubReader(errors);
  const messages: Message[] = [];
  for (let at = 0; at < stream.length; at += step) messages.push(...reader.push(stream.slice(at, at + step)));
  return messages.map(label);
}

/** Puts one message into the middle of another. */
function interleaved(
  outer: Uint8Array<ArrayBuffer>,
  at: number,
  ...inner: Uint8Array<ArrayBuffer>[]
): Uint8Array<ArrayBuffer> {
  return joinBytes([outer.subarray(0, at), ...inner, outer.subarray(at)]);
}

const output = signer.make("stream", { name: "stdout", text: "x".repeat(600) });
const idle = signer.make("status", { execution_state: "idle" });
const busy = signer.make("status", { execution_state: "busy" });

Deno.test("a status in the middle of an output is separated, wherever it is", () => {
  const expected = [idle, output].map(labelOf);
  for (let at = 1; at < output.length; at++) {
    assert.deepEqual(read(interleaved(output, at, idle), 1 + at % 97), expected, `at ${at}`);
  }
  for (const step of [1, 2, 11, 12, 13, 4096]) {
    assert.deepEqual(read(interleaved(output, 500, idle, busy), step), [idle, busy, output].map(labelOf));
  }
});

Deno.test("messages in order do not change", () => {
  const stream = joinBytes([busy, output, output, idle]);
  for (const step of [1, 5, 300, stream.length]) {
    assert.deepEqual(read(stream, step), [busy, output, output, idle].map(labelOf));
  }
});

Deno.test("bytes that only look like a message inside another stay there", () => {
  const mark = encodeMessage([new TextEncoder().encode("<IDS|MSG>"), new Uint8Array(64), ...Array(4).fill(busy)]);
  const own = openMessage(firstOf(output))!;
  const withBuffer = (buffer: Uint8Array) => {
    return encodeMessage([new TextEncoder().encode("<IDS|MSG>"), own.signature, ...own.parts, buffer]);
  };
  for (
    const buffer of [
      mark,
      joinBytes([mark, mark, busy.subarray(1)]),
      joinBytes([busy.subarray(0, 5)]),
      Uint8Array.of(1),
    ]
  ) {
    const stream = joinBytes([withBuffer(buffer), idle]);
    for (const step of [1, 3, stream.length]) {
      assert.deepEqual(read(stream, step), [withBuffer(buffer), idle].map(labelOf));
    }
  }
});

Deno.test("randomly interleaved messages are separated", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let round = 0; round < sized(100, 300); round++) {
    const parts: Uint8Array[] = [];
    const expected: string[] = [];
    for (let n = 0; n < 6; n++) {
      const outer = signer.make("stream", { text: "y".repeat(random.below(3000)) });
      const inner = Array.from({ length: random.below(3) }, (_, n) => signer.make("status", { n }));
      parts.push(interleaved(outer, random.below(outer.length), ...inner));
      expected.push(...[...inner, outer].map(labelOf));
    }
    const step = 1 + random.below(random.one([30, 5000]));
    const got = read(joinBytes(parts), step);
    // A message that is inserted at the very front comes before the other in any case.
    assert.deepEqual(got, expected, `LAKEBASE_TEST_SEED=${seed}, round ${round}`);
  }
});

Deno.test("after bytes that are not a message, reading continues with the next message", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let round = 0; round < 300; round++) {
    const garbage = new Uint8Array(1 + random.below(300)).map(() => 8 + random.below(200));
    const errors: Error[] = [];
    const got = read(joinBytes([busy, garbage, idle, output]), 1 + random.below(400), errors);
    assert.deepEqual(got, [busy, idle, output].map(labelOf), `LAKEBASE_TEST_SEED=${seed}, ${round}`);
    assert.equal(errors.length, 1);
  }
});

Deno.test("a long output takes linear time", () => {
  const long = signer.make("stream", { text: "z".repeat(50e6) });
  assert.equal(read(interleaved(long, 25e6, idle), 1 << 16).length, 2);
});

function firstOf(raw: Uint8Array<ArrayBuffer>): Message {
  return iopubReader().push(raw)[0]!;
}

Deno.test("messages are read wherever their bytes are cut", () => {
  const sizes = [[0], [1, 0, 3], [255], [256, 2], [300, 0], [70_000]];
  const sent = sizes.map((lengths) => encodeMessage(lengths.map((length, n) => new Uint8Array(length).fill(n + 65))));
  const whole = new Uint8Array(sent.flatMap((raw) => [...raw]));
  for (const step of [1, 2, 3, 7, 9, 10, 255, 256, 1000, whole.length]) {
    const reader = new ZmtpReader();
    const messages: Message[] = [];
    for (let at = 0; at < whole.length; at += step) {
      let fed = reader.feed(whole.slice(at, at + step));
      for (; fed.message; fed = reader.feed(fed.rest)) messages.push(fed.message);
    }
    assert.ok(reader.atBoundary);
    assert.deepEqual(messages.map(({ frames }) => frames.map(({ length }) => length)), sizes, `step ${step}`);
    for (const [n, { raw }] of messages.entries()) assert.deepEqual(raw, sent[n]);
  }
});

Deno.test("an endless message is refused, and invalid bytes are read or refused but never held back", () => {
  const reader = new ZmtpReader();
  assert.throws(() => reader.feed(new Uint8Array(40_000).map((_, n) => n % 2 === 0 ? 1 : 0)), /more than 10000 frames/);
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let round = 0; round < 500; round++) {
    const garbage = new Uint8Array(1 + random.below(200)).map(() => random.below(random.one([8, 256])));
    try {
      const left = new ZmtpReader().feed(garbage);
      assert.ok(left.rest.length < garbage.length, `LAKEBASE_TEST_SEED=${seed}, round ${round}`);
    } catch (error) {
      assert.match((error as Error).message, /^Cannot read a ZMTP/, `LAKEBASE_TEST_SEED=${seed}, round ${round}`);
    }
  }
});
