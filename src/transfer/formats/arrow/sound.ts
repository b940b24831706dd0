import type { ColumnData } from "../../batch.ts";

/** Bits of a value of each kind that is as long as all others. */
const BITS: Partial<Record<ColumnData["type"]["kind"], number>> = {
  bool: 1,
  int16: 16,
  int32: 32,
  uint32: 32,
  float32: 32,
  date: 32,
  int64: 64,
  float64: 64,
  time: 64,
  timestamp: 64,
  uuid: 128,
  decimal: 128,
};

/**
 * Checks that a column's places are all within it: what a damaged file says of them, a loop would believe.
 *
 * @throws {Error} Where they are not.
 */
export function checkSound({ name, type, length, nullBitmap, values, offsets, child }: ColumnData): void {
  const bits = BITS[type.kind];
  const reach = child?.length ?? values.length;
  const sound = (nullBitmap === undefined || nullBitmap.length * 8 >= length) &&
    (bits === undefined ? isRising(offsets, length, reach) : values.byteLength * 8 >= length * bits);
  if (!sound) throw new Error(`the values of column "${name}" are not where they should be`);
  if (child !== undefined) checkSound(child);
}

function isRising(offsets: Int32Array | undefined, length: number, reach: number): boolean {
  if (offsets === undefined || offsets.length <= length) return length === 0;
  if (offsets[0]! < 0) return false;
  for (let at = 1; at <= length; at++) if (offsets[at]! < offsets[at - 1]!) return false;
  return offsets[length]! <= reach;
}
