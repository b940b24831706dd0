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
  const unknown = withoutKnown(text);
  const withoutTokens = TOKENS.reduce((safe, [head, end, mask]) => withoutTokensOf(safe, head, end, mask), unknown);
  return withoutSettings(withoutUrlPasswords(withoutTokens));
}

/** The secrets that this process has used last, and how they look where somebody encoded them. */
const known = new Map<string, readonly string[]>();
/** A renewed token pushes out the oldest. */
const MOST_KNOWN = 100;
/** What is shorter is a word that stands in many a text: hiding it there would say what it is. */
const SHORTEST_KNOWN = 6;

/**
 * Has {@linkcode redact} hide a secret by its value from now on, since not every secret looks like one.
 *
 * @param secret A password, a token, a client secret; `undefined` for none.
 */
export function keepSecret(secret: string | undefined): void {
  if (secret === undefined || secret.length < SHORTEST_KNOWN) return;
  known.delete(secret);
  const forms = new Set([secret, JSON.stringify(secret).slice(1, -1)]);
  if (secret.isWellFormed()) forms.add(encodeURIComponent(secret));
  known.set(secret, [...forms].sort((a, b) => b.length - a.length));
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value!);
}

/** All in one pass, or a secret could be found in what stands for another. */
function withoutKnown(text: string): string {
  const found = [...known.values()].flat().filter((form) => text.includes(form)).sort((a, b) => b.length - a.length);
  return found.length === 0 ? text : text.replace(new RegExp(found.map(pattern).join("|"), "g"), "<secret>");
}

/** A plain word is hidden where it stands alone: the password "postgres" is not the role "postgres_admin". */
function pattern(form: string): string {
  const exact = RegExp.escape(form);
  return /^[a-z]+$/i.test(form) ? `(?<!\\w)${exact}(?!\\w)` : exact;
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
