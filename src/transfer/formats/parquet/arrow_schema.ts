import { RecordBatchStreamWriter } from "npm:apache-arrow@^21.2.0";
import { arrowSchema } from "../../columns/arrow_table.ts";
import type { BatchColumn } from "../../columns/batch.ts";

/** Under this name readers look for the schema that Arrow would have; it is what tells polars that JSON is text. */
export const ARROW_SCHEMA = "ARROW:schema";

/** The schema as a message of Arrow's, in base64. */
export function encodedSchema(columns: readonly Pick<BatchColumn, "name" | "type">[]): string {
  const writer = new RecordBatchStreamWriter();
  writer.reset(undefined, arrowSchema(columns));
  return writer.finish().toUint8Array(true).toBase64();
}
