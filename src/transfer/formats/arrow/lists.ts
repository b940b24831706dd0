import { type Data, type FixedSizeList, Type } from "npm:apache-arrow@^21.2.0";

/** Where each list begins among the elements; one more than there are lists. */
export function listOffsets(data: Data): Int32Array {
  switch (data.type.typeId) {
    case Type.FixedSizeList: {
      const { listSize } = data.type as FixedSizeList;
      return Int32Array.from({ length: data.length + 1 }, (_, at) => at * listSize);
    }
    case Type.LargeList:
      return Int32Array.from(data.valueOffsets as unknown as BigInt64Array, Number);
    default:
      return data.valueOffsets;
  }
}
