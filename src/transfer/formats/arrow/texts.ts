import type { Data } from "npm:apache-arrow@^21.2.0";
import { problemAt } from "../../binary/block.ts";
import type { Values } from "./column_reader.ts";

const UTF8 = new TextEncoder();

/** Makes a text of each value; NULL is empty. */
export function texts(data: Data, textOf: (at: number) => string): Values & { offsets: Int32Array } {
  const { length } = data;
  const offsets = new Int32Array(length + 1);
  let values = new Uint8Array(length * 8 + 64);
  let end = 0;
  let at = 0;
  const write = () => {
    for (; at < length; at++) {
      if (data.getValid(at)) {
        const text = textOf(at);
        const most = end + text.length * 3;
        if (most > values.length) values = grown(values, most);
        end += UTF8.encodeInto(text, values.subarray(end)).written;
      }
      offsets[at + 1] = end;
    }
  };
  problemAt(write, () => at);
  return { values: values.subarray(0, end), offsets };
}

function grown(bytes: Uint8Array, least: number): Uint8Array<ArrayBuffer> {
  const more = new Uint8Array(Math.max(least, bytes.length * 2));
  more.set(bytes);
  return more;
}
