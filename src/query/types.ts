import { Buffer } from "node:buffer";
import { parse as parseArray } from "postgres-array";

/** Turns the text that Postgres sends for a value into the value. */
export type TypeParser = (text: string) => unknown;

/** Parsers by the name of the Postgres type, such as `{ numeric: Number }`. */
export type TypeParsers = Readonly<Record<string, TypeParser>>;

/** Name, oid and array oid of the types that every Postgres has (pg_type.dat); others go by their oid's name. */
const BUILT_IN: readonly (readonly [name: string, oid: number, arrayOid: number])[] = [
  ["bool", 16, 1000],
  ["bytea", 17, 1001],
  ["char", 18, 1002],
  ["name", 19, 1003],
  ["int8", 20, 1016],
  ["int2", 21, 1005],
  ["int4", 23, 1007],
  ["regproc", 24, 1008],
  ["text", 25, 1009],
  ["oid", 26, 1028],
  ["tid", 27, 1010],
  ["xid", 28, 1011],
  ["cid", 29, 1012],
  ["json", 114, 199],
  ["xml", 142, 143],
  ["point", 600, 1017],
  ["lseg", 601, 1018],
  ["path", 602, 1019],
  ["box", 603, 0], // box[] is the one array whose delimiter is a semicolon: it stays text
  ["polygon", 604, 1027],
  ["line", 628, 629],
  ["cidr", 650, 651],
  ["float4", 700, 1021],
  ["float8", 701, 1022],
  ["circle", 718, 719],
  ["macaddr8", 774, 775],
  ["money", 790, 791],
  ["macaddr", 829, 1040],
  ["inet", 869, 1041],
  ["aclitem", 1033, 1034],
  ["bpchar", 1042, 1014],
  ["varchar", 1043, 1015],
  ["date", 1082, 1182],
  ["time", 1083, 1183],
  ["timestamp", 1114, 1115],
  ["timestamptz", 1184, 1185],
  ["interval", 1186, 1187],
  ["timetz", 1266, 1270],
  ["bit", 1560, 1561],
  ["varbit", 1562, 1563],
  ["numeric", 1700, 1231],
  ["regclass", 2205, 2210],
  ["regtype", 2206, 2211],
  ["record", 2249, 2287],
  ["void", 2278, 0],
  ["uuid", 2950, 2951],
  ["pg_lsn", 3220, 3221],
  ["tsvector", 3614, 3643],
  ["tsquery", 3615, 3645],
  ["jsonb", 3802, 3807],
  ["int4range", 3904, 3905],
  ["numrange", 3906, 3907],
  ["tsrange", 3908, 3909],
  ["tstzrange", 3910, 3911],
  ["daterange", 3912, 3913],
  ["int8range", 3926, 3927],
  ["jsonpath", 4072, 4073],
];

const NAMES = new Map<number, string>(
  BUILT_IN.flatMap(([name, oid, arrayOid]) => [[oid, name], [arrayOid, `${name}[]`]] as [number, string][]),
);

/** What is not here stays the server's own text, which is always exact. */
const PARSERS: TypeParsers = {
  bool: (text) => text === "t",
  bytea: parseBytea,
  int2: Number,
  int4: Number,
  int8: parseInt8,
  oid: Number,
  float4: Number,
  float8: Number,
  json: JSON.parse,
  jsonb: JSON.parse,
  timestamptz: parseTimestamptz,
};

/**
 * The name of a type.
 *
 * @param oid The type's oid.
 * @returns Such as `int8` or `text[]`; `oid 16385` for a type that a database made for itself.
 */
export function typeName(oid: number): string {
  return NAMES.get(oid) ?? `oid ${oid}`;
}

/** Finds the parser of a column, as `pg` takes it. */
export interface ParserSource {
  /** The parser for text of a type. */
  getTypeParser(oid: number, format?: string): TypeParser;
}

/**
 * The parsers of one connection.
 *
 * @param own Parsers that replace the usual ones, by type name; an array's elements follow their type.
 */
export function parserSource(own: TypeParsers = {}): ParserSource {
  const byName = new Map<string, TypeParser>(Object.entries({ ...PARSERS, ...own }));
  const byOid = new Map<number, TypeParser>();
  for (const [name, oid, arrayOid] of BUILT_IN) {
    const element = byName.get(name) ?? asText;
    byOid.set(oid, element);
    byOid.set(arrayOid, byName.get(`${name}[]`) ?? arrayParser(element));
  }
  return { getTypeParser: (oid) => byOid.get(oid) ?? asText };
}

/** Text that begins with `[` gives the array's bounds, which a JavaScript array can't keep. */
function arrayParser(element: TypeParser): TypeParser {
  return (text) => text.startsWith("[") ? text : parseArray(text, element);
}

function asText(text: string): string {
  return text;
}

function parseInt8(text: string): number | bigint {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : BigInt(text);
}

function parseBytea(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), "hex"));
}

/** ISO with the time zone `+00`, `+05:30` or `+05:53:28`; `infinity`, BC and years past 9999 stay text. */
function parseTimestamptz(text: string): Date | string {
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,6})?)([+-]\d\d)(?::(\d\d))?(?::(\d\d))?$/.exec(text);
  if (parts === null) return text;
  const [, day, time, hours, minutes = "00", seconds = "0"] = parts;
  const ms = Date.parse(`${day}T${time}${hours}:${minutes}`);
  return new Date(hours!.startsWith("-") ? ms + Number(seconds) * 1000 : ms - Number(seconds) * 1000);
}
