/**
 * Reads the text of a Postgres array.
 *
 * @param text Such as `{1,NULL,"a b"}` or `{{1,2},{3,4}}`.
 * @param element Turns the text of an element into its value.
 * @returns Nested arrays; `null` for NULL. The text itself where it gives the array's bounds, as `[0:1]={1,2}` does: a
 * JavaScript array can't keep those.
 */
export function parseArray(text: string, element: (text: string) => unknown): unknown {
  if (text.startsWith("[")) return text;
  const top: unknown[] = [];
  const open: unknown[][] = [top];
  for (let at = 0; at < text.length;) {
    const inner = open[open.length - 1]!;
    const char = text[at]!;
    if (char === "{") {
      const nested: unknown[] = [];
      inner.push(nested);
      open.push(nested);
      at++;
    } else if (char === "}") {
      open.pop();
      at++;
    } else if (char === ",") {
      at++;
    } else if (char === '"') {
      const end = endOfQuoted(text, at);
      inner.push(element(text.slice(at + 1, end - 1).replace(/\\(.)/gs, "$1")));
      at = end;
    } else {
      const end = endOfBare(text, at);
      const bare = text.slice(at, end);
      inner.push(bare === "NULL" ? null : element(bare.replace(/\\(.)/gs, "$1")));
      at = end;
    }
  }
  return top[0];
}

function endOfQuoted(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function endOfBare(text: string, start: number): number {
  let at = start;
  while (at < text.length && text[at] !== "," && text[at] !== "}") at += text[at] === "\\" ? 2 : 1;
  return at;
}

/**
 * Writes an array as Postgres reads it.
 *
 * @param values The elements; arrays among them are further dimensions.
 * @param element The text of an element that is no array; `null` for NULL.
 * @throws {RangeError} For an array that holds itself.
 */
export function arrayText(values: readonly unknown[], element: (value: unknown) => string | null): string {
  const items = Array.from(values, (value) => {
    if (Array.isArray(value)) return arrayText(value, element);
    const text = element(value);
    return text === null ? "NULL" : `"${text.replace(/["\\]/g, "\\$&")}"`;
  });
  return `{${items.join(",")}}`;
}
