/** How a token begins, where it ends, and its replacement. A token that was cut off is secret too. */
const TOKENS: readonly [head: RegExp, end: RegExp, mask: string][] = [
  [/\beyJ(?=[\w-]{8})/g, /[^\w.-]|$/g, "<token>"],
  [/\bdapi(?=[\da-f]{16})/gi, /[^\da-f-]|$/gi, "<token>"],
  [/\bdose(?=[\da-f]{16})/gi, /[^\da-f]|$/gi, "<secret>"],
  [/(?=[\w.~+/-]{8})(?<=bearer\s+)/gi, /[^\w.~+/=-]|$/g, "<token>"],
  [/(?=[\w+/]{8})(?<=authorization\W{1,5}basic\s+)/gi, /[^\w+/=]|$/g, "<password>"],
];

/**
 * Hides credentials in a text from elsewhere: known secrets, tokens, passwords in URLs and settings, and the signatures of
 * presigned addresses. This takes linear time, because an error of a server may quote very long values.
 *
 * @param text Any text.
 * @returns The text with credentials replaced.
 */
export function redact(text: string): string {
  const withoutSecrets = hideKnownSecrets(text);
  const withoutTokens = TOKENS.reduce((safe, [head, end, mask]) => hideTokens(safe, head, end, mask), withoutSecrets);
  return hideSettings(hideSignatures(hideUrlPasswords(withoutTokens)));
}

/** The secrets that this process has used last, each with its encoded forms. */
const knownSecrets = new Map<string, readonly string[]>();
/** The most secrets that are kept; a new one replaces the oldest. */
const MAX_SECRETS = 100;
/** The shortest secret that is hidden. A shorter one also occurs in ordinary text, and hiding it there would reveal it. */
const MIN_SECRET_LENGTH = 6;

/**
 * Makes {@linkcode redact} hide a secret by its value from now on, because not every secret can be recognized by its form.
 *
 * @param secret A password, a token, a client secret; `undefined` for none.
 */
export function keepSecret(secret: string | undefined): void {
  if (secret === undefined || secret.length < MIN_SECRET_LENGTH) return;
  knownSecrets.delete(secret);
  const forms = new Set([secret, JSON.stringify(secret).slice(1, -1)]);
  if (secret.isWellFormed()) forms.add(encodeURIComponent(secret));
  knownSecrets.set(secret, [...forms].sort((a, b) => b.length - a.length));
  if (knownSecrets.size > MAX_SECRETS) knownSecrets.delete(knownSecrets.keys().next().value!);
}

/** The longest secret that becomes part of the pattern: V8 refuses a pattern of a million characters. */
const MAX_PATTERN_LENGTH = 10_000;

/** Replaces all short secrets in one pass, so that no secret is found in the replacement of another. */
function hideKnownSecrets(text: string): string {
  const forms = [...knownSecrets.values()].flat().filter((form) => text.includes(form)).sort((a, b) =>
    b.length - a.length
  );
  if (forms.length === 0) return text;
  const long = forms.filter((form) => form.length > MAX_PATTERN_LENGTH);
  const withoutLong = long.reduce((hidden, form) => hidden.replaceAll(form, "<secret>"), text);
  const short = forms.slice(long.length);
  return short.length === 0
    ? withoutLong
    : withoutLong.replace(new RegExp(short.map(pattern).join("|"), "g"), "<secret>");
}

/**
 * The pattern of a secret. A secret of letters matches only as a whole word: the password "postgres" is not in
 * "postgres_admin".
 */
function pattern(form: string): string {
  const exact = RegExp.escape(form);
  return /^[a-z]+$/i.test(form) ? `(?<!\\w)${exact}(?!\\w)` : exact;
}

function hideTokens(text: string, head: RegExp, tokenEnd: RegExp, mask: string): string {
  const kept: string[] = [];
  let from = 0;
  for (;;) {
    head.lastIndex = from;
    const found = head.exec(text);
    if (found === null) return kept.join("") + text.slice(from);
    let end = search(text, tokenEnd, found.index + found[0].length);
    while (text[end - 1] === ".") end--; // the full stop of a sentence
    kept.push(text.slice(from, found.index), mask);
    from = end;
  }
}

const USER_END = /[\s:@/]|$/g;
const SPACE = /\s|$/g;
const WORD = /\w/;

/** Hides the password in `scheme://user:password@host`. It ends at the last `@` before a space, because it may contain `@`. */
function hideUrlPasswords(text: string): string {
  const kept: string[] = [];
  let from = 0;
  let wordEnd = 0; // the end of the last word that was searched, and the last "@" in it
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

/** A parameter of a presigned address. Whoever has such an address needs no login. */
const SIGNED = /[?&](?:X-Amz-|X-Goog-|sig=|Signature=|AWSAccessKeyId=)/i;
const ADDRESS_END = /[\s"'<>]|$/g;

/** Hides all that follows the `?` of a presigned address. */
function hideSignatures(text: string): string {
  const kept: string[] = [];
  let from = 0;
  let query = text.indexOf("?");
  for (let scheme = text.indexOf("://"); scheme !== -1 && query !== -1;) {
    const end = search(text, ADDRESS_END, scheme + 3);
    if (query < scheme) query = text.indexOf("?", scheme);
    if (query !== -1 && query < end && SIGNED.test(text.slice(query, end))) {
      kept.push(text.slice(from, query), "?<signature>");
      from = end;
    }
    scheme = text.indexOf("://", Math.max(end, scheme + 3));
  }
  return kept.join("") + text.slice(from);
}

/** Settings, fields of JSON, and what remains of a presigned address whose beginning is missing or escaped. */
const SETTING =
  /(?:password|passwd|pwd|client_secret)=|"(?:password|client_secret|access_token|refresh_token|id_token)"\s{0,9}:\s{0,9}(?=")|[?&](?:X-Amz-(?:Signature|Security-Token|Credential)|X-Goog-(?:Signature|Credential)|sig|Signature)=/gi;
const VALUE_END = /[\s&;'"]|$/g;

/** Hides the value in assignments such as `password=secret`. After a quote that is not closed, it hides the rest of the text. */
function hideSettings(text: string): string {
  const kept: string[] = [];
  let from = 0;
  for (;;) {
    SETTING.lastIndex = from;
    const found = SETTING.exec(text);
    if (found === null) return kept.join("") + text.slice(from);
    const start = found.index + found[0].length;
    const quote = text[start];
    const end = quote === "'" || quote === '"' ? quotedEnd(text, start) : search(text, VALUE_END, start);
    const mask = /^[?&]/.test(found[0])
      ? "<signature>"
      : quote === '"' && found[0].startsWith('"')
      ? '"<secret>"'
      : "<password>";
    kept.push(text.slice(from, start), end > start ? mask : "");
    from = end;
  }
}

/** The index after a quoted value, in which a backslash escapes a quote. */
function quotedEnd(text: string, start: number): number {
  const quote = text[start];
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === quote) return at + 1;
  }
  return text.length;
}

/** The index of the next match of a pattern that always matches. */
function search(text: string, pattern: RegExp, from: number): number {
  pattern.lastIndex = from;
  return pattern.exec(text)!.index;
}
