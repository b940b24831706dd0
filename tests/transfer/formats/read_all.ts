import type { ColumnarFile } from "../../../src/transfer/formats/columnar_reader.ts";

const LETTERS: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", "\\": "\\" };

/** The content of a file: the types of its columns, and the text of each value. */
export async function all(
  file: ColumnarFile,
): Promise<{ types: Record<string, string>; texts: (string | null)[][]; rows: number }> {
  await using opened = file;
  const types = Object.fromEntries(opened.columns.map(({ name, postgres }) => [name, postgres]));
  const columns = opened.columns.map(({ name }, index) => ({ index, name, bytesAsText: false }));
  let text = "";
  let rows = 0;
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for await (const piece of opened.copy({ name: "the file", columns, expected: [] })) {
    text += decoder.decode(piece.bytes, { stream: true });
    rows += piece.rows;
  }
  const lines = text.split("\n").slice(0, -1);
  return { types, texts: lines.map((line) => columns.length === 0 ? [] : line.split("\t").map(valueOf)), rows };
}

/** A value of COPY's text format. */
function valueOf(text: string): string | null {
  return text === "\\N" ? null : text.replace(/\\(.)/g, (_, letter: string) => LETTERS[letter]!);
}
