/**
 * The members of an object, each as the text that it was written in: a number keeps all of its digits.
 *
 * @param text An object, which `JSON.parse` has taken.
 * @returns The texts by name; of one that comes twice the last.
 */
export function jsonMembers(text: string): Record<string, string> {
  const members: Record<string, string> = Object.create(null);
  let at = skipSpace(text, text.indexOf("{") + 1);
  while (text[at] === '"') {
    const endOfName = endOfString(text, at);
    const start = skipSpace(text, skipSpace(text, endOfName) + 1); // a colon stands between
    const end = endOfValue(text, start);
    members[stringOf(text.slice(at, endOfName))] = text.slice(start, end);
    at = skipSpace(text, skipSpace(text, end) + 1);
  }
  return members;
}

/**
 * The elements of an array, as {@linkcode jsonMembers}.
 *
 * @param text An array, which `JSON.parse` has taken.
 */
export function jsonElements(text: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(text, text.indexOf("[") + 1);
  while (at < text.length && text[at] !== "]") {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return elements;
}

/** The string that a text in quotes is. */
export function stringOf(text: string): string {
  return text.includes("\\") ? JSON.parse(text) : text.slice(1, -1);
}

function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return endOfString(text, start);
  if (first !== "{" && first !== "[") return endOfWord(text, start);
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const char = text[at];
    if (char === '"') at = endOfString(text, at) - 1;
    else if (char === "{" || char === "[") depth++;
    else if ((char === "}" || char === "]") && --depth === 0) return at + 1;
  }
  return text.length;
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length;) {
    const quote = text.indexOf('"', at);
    let before = quote;
    while (text[before - 1] === "\\") before--;
    if ((quote - before) % 2 === 0) return quote + 1;
    at = quote + 1;
  }
  return text.length;
}

function endOfWord(text: string, start: number): number {
  let at = start;
  while (at < text.length && !isEnd(text.charCodeAt(at))) at++;
  return at;
}

/** A comma, a bracket that closes, or white space. */
function isEnd(code: number): boolean {
  return code === 44 || code === 93 || code === 125 || code <= 32;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && text.charCodeAt(at) <= 32) at++;
  return at;
}
