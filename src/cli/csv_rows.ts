import { type RowFormat, SERVER_TEXT } from "./row_format.ts";

/** How CSV is written. */
export interface CsvOptions {
  /** Whether the names stand in the first line. */
  header: boolean;
  /** One character. */
  delimiter: string;
  /** What stands for NULL, without quotes; a value that is the same text gets them. */
  null: string;
}

/** CSV as the server's `COPY ... (FORMAT csv)` writes it: values as Postgres has them, lines that end in a line feed. */
export function csvRows({ header, delimiter, null: nullText }: CsvOptions): RowFormat {
  const cell = (value: unknown) => value === null ? nullText : quote(String(value), delimiter, nullText);
  const line = (values: readonly unknown[]) => {
    const text = values.map(cell).join(delimiter);
    return `${text === "\\." ? '"\\."' : text}\n`; // alone on a line it would end a COPY
  };
  return {
    types: SERVER_TEXT,
    begin: (fields) => header ? line(fields.map(({ name }) => name)) : "",
    rows: (rows) => rows.map(line).join(""),
    end: () => "",
    command: () => "",
  };
}

function quote(text: string, delimiter: string, nullText: string): string {
  const plain = text !== nullText && !text.includes(delimiter) && !/["\r\n]/.test(text);
  return plain ? text : `"${text.replaceAll('"', '""')}"`;
}
