/** How a secret begins, where it ends, and what stands there instead. Of a token that was cut off the rest is secret too. */
const TOKENS: readonly [head: RegExp, end: RegExp, mask: string][] = [
  [/\beyJ(?=[\w-]{8})/g, /[^\w.-]|$/g, "<token>"],
  [/\bdapi(?=[\da-f]{16})/gi, /[^\da-f-]|$/gi, "<token>"],
  [/\bdose(?=[\da-f]{16})/gi, /[^\da-f]|$/gi, "<secret>"],
  [/(?=[\w.~+/-]{8})(?<=bearer\s+)/gi, /[^\w.~+/=-]|$/g, "<token>"],
];

/**
 * Takes what looks like a credential out of a text that came from somewhere else. A server's error quotes whole values, so
 * this takes time in proportion to the text, and any text.
 *
 * @param text Anything that a server or a driver said.
 * @returns The same text with tokens, and passwords in URLs and settings, replaced.
 */
export function redact(text: string): string {
  const withoutTokens = TOKENS.reduce((safe, [head, end, mask]) => withoutTokensOf(safe, head, end, mask), text);
  return withoutSettings(withoutUrlPasswords(withoutTokens));
}

function withoutTokensOf(text: string, head: RegExp, tokenEnd: RegExp, mask: string): string {
  const kept: string[] = [];
  let from = 0;
  for (;;) {
    head.lastIndex = from;
    const found = head.exec(text);
    if (found === null) return kept.join("") + text.slice(from);
    let end = search(text, tokenEnd, found.index + found[0].length);
    while (text[end - 1] === ".") end--; // of the sentence
    kept.push(text.slice(from, found.index), mask);
    from = end;
  }
}

const USER_END = /[\s:@/]|$/g;
const SPACE = /\s|$/g;
const WORD = /\w/;

/** `scheme://user:password@host`, to the last `@` before a space: a password that was not encoded may hold one. */
function withoutUrlPasswords(text: string): string {
  const kept: string[] = [];
  let from = 0;
  let wordEnd = 0; // of the text between two spaces that was looked at last, and the last "@" in it
  let lastAt = -1;
  for (let scheme = text.indexOf("://"); scheme !== -1;) {
    const colon = search(text, USER_END, scheme + 3);
    let next = colon;
    if (text[colon] === ":" && WORD.test(text[scheme - 1] ?? "")) {
      if (colon >= wordEnd) {
        wordEnd = search(text, SPACE, colon);
        lastAt = text.slice(colon, wordEnd).lastIndexOf("@") + colon;
      }
      if (lastAt > colon + 1) {
        kept.push(text.slice(from, colon), ":<password>");
        from = next = lastAt;
      }
    }
    scheme = text.indexOf("://", next);
  }
  return kept.join("") + text.slice(from);
}

const SETTING = /(?:password|passwd|pwd|client_secret)=/gi;
const VALUE_END = /[\s&;'"]|$/g;

/** `password=secret`, `password='a secret'`. A quote that is not closed may have been cut off: all behind it is secret. */
function withoutSettings(text: string): string {
  const kept: string[] = [];
  let from = 0;
  for (;;) {
    SETTING.lastIndex = from;
    const found = SETTING.exec(text);
    if (found === null) return kept.join("") + text.slice(from);
    const start = found.index + found[0].length;
    const quote = text[start];
    const end = quote === "'" || quote === '"' ? quotedEnd(text, start) : search(text, VALUE_END, start);
    kept.push(text.slice(from, start), end > start ? "<password>" : "");
    from = end;
  }
}

/** The place behind a quoted value, in which a backslash keeps a quote. */
function quotedEnd(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === quote) return at + 1;
  }
  return text.length;
}

/** Where a pattern that always matches is found next. */
function search(text: string, pattern: RegExp, from: number): number {
  pattern.lastIndex = from;
  return pattern.exec(text)!.index;
}
