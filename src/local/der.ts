/** Distinguished Encoding Rules: the few ASN.1 shapes that an X.509 certificate is made of. */

/** One element: tag, length and content. */
export function element(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const content = concat(parts);
  return concat([new Uint8Array([tag, ...length(content.length)]), content]);
}

export function sequence(...parts: Uint8Array[]): Uint8Array {
  return element(0x30, ...parts);
}

/** A positive INTEGER from its big-endian bytes. */
export function integer(bytes: Uint8Array): Uint8Array {
  const padding = (bytes[0] ?? 0) & 0x80 ? [0] : [];
  return element(0x02, new Uint8Array([...padding, ...bytes]));
}

/** An OBJECT IDENTIFIER written as dotted numbers. */
export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return element(0x06, new Uint8Array([first * 40 + second, ...rest.flatMap(base128)]));
}

export function utf8(text: string): Uint8Array {
  return element(0x0c, new TextEncoder().encode(text));
}

export function octets(content: Uint8Array): Uint8Array {
  return element(0x04, content);
}

/** A BIT STRING; `unused` counts the bits left over in the last byte. */
export function bits(content: Uint8Array, unused = 0): Uint8Array {
  return element(0x03, new Uint8Array([unused]), content);
}

/** A UTCTime, which X.509 asks for in every year before 2050. */
export function time(at: Date): Uint8Array {
  const digits = at.toISOString().replace(/\.\d+/, "").replace(/[-:T]/g, "").slice(2);
  return element(0x17, new TextEncoder().encode(digits));
}

export function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function length(size: number): number[] {
  if (size < 0x80) return [size];
  const bytes = [];
  for (let rest = size; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return [0x80 | bytes.length, ...bytes];
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}
