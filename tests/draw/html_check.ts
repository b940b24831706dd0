/** Reads the HTML that the renderer writes, and refuses any other HTML. */

const TAGS = new Set(
  ("div style table caption thead tbody tr th td br small em i b strong span details summary").split(" "),
);
const ATTRIBUTES = new Set("class role aria-label tabindex style scope".split(" "));
const TOKEN = /<(\/?)([a-z]+)((?: [a-z-]+="[^"<>]*")*)>|([^<]+)|(<)/g;
const ENTITIES: Record<string, string> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
  "&#96;": "`",
};

/** The visible content of a table: its head and its rows, cell by cell, and all of its text. */
export interface ReadTable {
  head: string[];
  rows: string[][];
  text: string;
}

/** Parses HTML. Throws if a tag, an attribute, an entity or the nesting is wrong. */
export function readHtml(html: string): ReadTable {
  const read: ReadTable = { head: [], rows: [], text: "" };
  const open: string[] = [];
  for (const [token, slash, tag, attributes, text] of html.matchAll(TOKEN)) {
    if (text !== undefined) {
      if (open.at(-1) !== "style") addText(read, open, unescape(text));
    } else if (tag === undefined || !TAGS.has(tag)) throw new Error(`stray markup: ${token}`);
    else if (slash) {
      if (open.pop() !== tag) throw new Error(`</${tag}> does not match`);
    } else {
      checkAttributes(attributes ?? "");
      if (tag === "br") continue;
      open.push(tag);
      if (tag === "tr" && open.includes("tbody")) read.rows.push([]);
      if (tag === "td") read.rows.at(-1)?.push("");
      if (tag === "th") read.head.push("");
    }
  }
  if (open.length > 0) throw new Error(`not closed: ${open.join(" ")}`);
  return read;
}

function addText(read: ReadTable, open: readonly string[], text: string): void {
  read.text += text;
  if (open.includes("th")) read.head.push((read.head.pop() ?? "") + text);
  if (open.includes("td")) {
    const row = read.rows.at(-1) ?? [];
    row.push((row.pop() ?? "") + text);
  }
}

function checkAttributes(attributes: string): void {
  for (const [, name = "", value = ""] of attributes.matchAll(/ ([a-z-]+)="([^"]*)"/g)) {
    if (!ATTRIBUTES.has(name)) throw new Error(`stray attribute: ${name}`);
    unescape(value);
  }
}

function unescape(text: string): string {
  // deno-lint-ignore no-control-regex
  const stray = /[<>"'`]|[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/.exec(text);
  if (stray) throw new Error(`unescaped ${JSON.stringify(stray[0])} in ${JSON.stringify(text)}`);
  if (!text.isWellFormed()) throw new Error(`lone surrogate in ${JSON.stringify(text)}`);
  return text.replace(/&[^;]*;?/g, (entity) => {
    const character = ENTITIES[entity];
    if (character === undefined) throw new Error(`stray entity: ${entity}`);
    return character;
  });
}
