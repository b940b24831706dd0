import assert from "node:assert/strict";
import { type CopyItem, END_OF_COPY, withoutFraming } from "../../../src/transfer/copy/messages.ts";

/** A header with as many bytes of an extension. */
function header(extension: number): number[] {
  const signature = [...new TextEncoder().encode("PGCOPY\n"), 0xff, 13, 10, 0];
  return [...signature, 0, 0, 0, 0, 0, 0, 0, extension, ...new Array(extension).fill(7)];
}

const TRAILER = [0xff, 0xff];

/** The rest of a series of COPYs, each of which has messages in these chunks. */
async function stays(copies: number[][][][], headed: boolean): Promise<{ bytes: number[]; rows: number }> {
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
  for await (const item of withoutFraming(stream(), headed)) {
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
      assert.deepEqual(await stays([chunks], false), { bytes: rows.flat(), rows: 3 });
      assert.deepEqual(await stays([chunks], true), { bytes: [...head, ...rows.flat()], rows: 3 });
      const twice = [...rows.flat(), ...rows.flat()];
      assert.deepEqual(await stays([chunks, chunks], true), { bytes: [...head, ...twice], rows: 6 });
    }
    // Without rows, header and trailer are one message.
    assert.deepEqual(await stays([[[[...head, ...TRAILER]]]], false), { bytes: [], rows: 0 });
    assert.deepEqual(await stays([[[[...head, ...TRAILER]]]], true), { bytes: head, rows: 0 });
  }
  assert.deepEqual(await stays([], false), { bytes: [], rows: 0 });
});
