import type { Data, Decimal } from "npm:apache-arrow@^21.2.0";
import type { Values } from "./column_reader.ts";
import { texts } from "./texts.ts";

const MOST_DIGITS = 38;

/** Whether decimals fit those that are kept as such. */
export function isKept({ precision, scale }: Decimal): boolean {
  return precision <= MOST_DIGITS && scale >= 0 && scale <= precision;
}

/** Decimals with 128 bits each. */
export function decimals({ bitWidth }: Decimal): (data: Data) => Values {
  const width = bitWidth / 32;
  return ({ values, length }) => {
    const source = new Uint32Array(values.buffer, values.byteOffset, length * width);
    if (width === 4) return { values: source };
    const wide = new Uint32Array(length * 4);
    for (let at = 0; at < length; at++) {
      const sign = (source[at * width + width - 1]! | 0) < 0 ? 0xffff_ffff : 0;
      for (let word = 0; word < 4; word++) wide[at * 4 + word] = word < width ? source[at * width + word]! : sign;
    }
    return { values: wide };
  };
}

/** Decimals of more digits than that, or with a scale below 0, as text. */
export function decimalTexts({ bitWidth, scale }: Decimal): (data: Data) => Values {
  const width = bitWidth / 32;
  return (data) => {
    const source = new Uint32Array(data.values.buffer, data.values.byteOffset, data.length * width);
    return texts(data, (at) => {
      const words = source.subarray(at * width, at * width + width);
      const value = BigInt.asIntN(bitWidth, words.reduceRight((sum, word) => sum << 32n | BigInt(word), 0n));
      return `${value}e${-scale}`;
    });
  };
}
