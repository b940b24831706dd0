import type { Data } from "npm:apache-arrow@^21.2.0";
import type { ColumnData } from "../../batch.ts";
import { isSet } from "../../column_value.ts";
import type { Values } from "./column_reader.ts";

/** Where a distinct value is. */
interface Place {
  column: ColumnData;
  at: number;
}

/** Those of a dictionary; `undefined` for a NULL among them. */
type Places = readonly (Place | undefined)[];

/**
 * The values that the indices of a dictionary-encoded column stand for.
 *
 * @param data The indices.
 * @param columns The distinct values: several columns where the dictionary grew.
 */
export function gather(data: Data, columns: readonly ColumnData[]): Values {
  const places = columns.flatMap(placesOf);
  const first = columns[0];
  if (first === undefined) return { values: new Uint8Array(), offsets: new Int32Array(data.length + 1) };
  const nulls = places.includes(undefined) ? gatherNulls(data, places) : {};
  if (first.offsets !== undefined) return { ...gatherBytes(data, places), ...nulls };
  return { ...first.type.kind === "bool" ? gatherBits(data, places) : gatherFixed(data, places, first), ...nulls };
}

function placesOf(column: ColumnData): Places {
  const { length, nullBitmap } = column;
  const isThere = (at: number) => nullBitmap === undefined || isSet(nullBitmap, at);
  return Array.from({ length }, (_, at) => isThere(at) ? { column, at } : undefined);
}

function placeOf(data: Data, places: Places, at: number): Place | undefined {
  if (!data.getValid(at)) return undefined;
  const index = Number(data.values[at]);
  if (index < 0 || index >= places.length) throw new Error("it points beyond a dictionary");
  return places[index];
}

/** A row is NULL where it has no index, and where its index stands for a NULL. */
function gatherNulls(data: Data, places: Places): Pick<Values, "nullBitmap" | "nullCount"> {
  const nullBitmap = new Uint8Array((data.length + 7) >> 3);
  let nullCount = 0;
  for (let row = 0; row < data.length; row++) {
    if (placeOf(data, places, row) === undefined) nullCount++;
    else nullBitmap[row >> 3]! |= 1 << (row & 7);
  }
  return { nullBitmap, nullCount };
}

function gatherBytes(data: Data, places: Places): Values {
  const offsets = new Int32Array(data.length + 1);
  for (let row = 0; row < data.length; row++) {
    const place = placeOf(data, places, row);
    const size = place === undefined ? 0 : place.column.offsets![place.at + 1]! - place.column.offsets![place.at]!;
    offsets[row + 1] = offsets[row]! + size;
  }
  const values = new Uint8Array(offsets[data.length]!);
  for (let row = 0; row < data.length; row++) {
    const place = placeOf(data, places, row);
    if (place === undefined) continue;
    const { column, at } = place;
    const source = column.values as Uint8Array;
    values.set(source.subarray(column.offsets![at], column.offsets![at + 1]), offsets[row]);
  }
  return { values, offsets };
}

function gatherBits(data: Data, places: Places): Values {
  const values = new Uint8Array((data.length + 7) >> 3);
  for (let row = 0; row < data.length; row++) {
    const place = placeOf(data, places, row);
    if (place !== undefined && isSet(place.column.values as Uint8Array, place.at)) values[row >> 3]! |= 1 << (row & 7);
  }
  return { values };
}

function gatherFixed(data: Data, places: Places, like: ColumnData): Values {
  const size = like.values.length / Math.max(1, like.length);
  const values = new (like.values.constructor as Uint8ArrayConstructor)(data.length * size);
  for (let row = 0; row < data.length; row++) {
    const place = placeOf(data, places, row);
    if (place === undefined) continue;
    const source = place.column.values as Uint8Array;
    for (let part = 0; part < size; part++) values[row * size + part] = source[place.at * size + part]!;
  }
  return { values };
}
