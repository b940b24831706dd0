import assert from "node:assert/strict";
import { sql } from "../../mod.ts";
import { compile, type Fragment } from "../../src/sql/fragment.ts";
import { queryTest } from "../support/queries.ts";
import { newSeed, type Random, randomFrom } from "../support/random.ts";

const HOSTILE = [
  "'",
  "''",
  '"',
  "\\",
  "$1",
  "$$",
  "--",
  "/*",
  "; DROP TABLE t",
  "`",
  "${x}",
  "é",
  "😀",
  "1",
  "?",
  ":a",
  "\n",
  "",
];

/** A random fragment, and its expected texts and values in order. */
interface Made {
  fragment: Fragment;
  pieces: ({ text: string } | { value: string | null })[];
}

/** Texts of a template, which belong to the program: they contain no `$1`, which would be a parameter. */
const TEXTS = ["SELECT ", ", ", " + ", "", " 1", "0", " AND ", "::text ", "(", ")", " -- x\n", " /* y */ ", "'it''s'"];

function make(random: Random, depth: number): Made {
  const strings = [random.one(TEXTS)];
  const values: unknown[] = [];
  const pieces: Made["pieces"] = [{ text: strings[0]! }];
  for (let n = random.below(5); n > 0; n--) {
    const { value, pieces: expected } = makeValue(random, depth);
    values.push(value);
    pieces.push(...expected);
    const text = random.one(TEXTS);
    strings.push(text);
    pieces.push({ text });
  }
  return {
    fragment: sql(Object.assign(strings, { raw: strings }) as unknown as TemplateStringsArray, ...values),
    pieces,
  };
}

function makeValue(random: Random, depth: number): { value: unknown; pieces: Made["pieces"] } {
  const hostile = () => Array.from({ length: random.below(4) }, () => random.one(HOSTILE)).join("");
  const kind = depth === 0 ? 0 : random.below(6);
  if (kind === 1) {
    const { fragment, pieces } = make(random, depth - 1);
    return { value: fragment, pieces };
  }
  if (kind === 2) {
    const name = `n${hostile()}`;
    return { value: sql.id(name), pieces: [{ text: `"${name.replaceAll('"', '""')}"` }] };
  }
  if (kind === 3) {
    const parts = [make(random, depth - 1), make(random, depth - 1)];
    const [first, second] = parts.map(({ pieces }) => pieces);
    return {
      value: sql.join(parts.map(({ fragment }) => fragment)),
      pieces: [...first!, { text: ", " }, ...second!],
    };
  }
  if (kind === 4) return { value: null, pieces: [{ value: null }] };
  const text = hostile();
  return { value: text, pieces: [{ value: text }] };
}

/** The unchanged texts, and each parameter as its number. Spaces that separate numbers do not count. */
function written(pieces: Made["pieces"], behind = ""): string {
  let number = 0;
  const text = pieces.map((piece) => "text" in piece ? piece.text : `$${++number}${behind}`).join("");
  return behind === "" ? text.replaceAll(" ", "") : text;
}

/** All numbers of parameters, and all texts that look like one. */
function numbersIn(text: string): string {
  return [...text.matchAll(/\$\d+/g)].join(" ");
}

Deno.test("random fragments keep texts and values apart", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let n = 0; n < 5000; n++) {
    const { fragment, pieces } = make(random, 4);
    const { text, values } = compile(fragment);
    assert.equal(text.replaceAll(" ", ""), written(pieces), `seed ${seed}`);
    const expected = pieces.flatMap((piece) => "value" in piece ? [piece.value] : []);
    assert.deepEqual(values, expected, `seed ${seed}`);
    assert.equal(numbersIn(text), numbersIn(written(pieces, " ")), `seed ${seed}: ${text}`);
  }
});

queryTest("hostile values come back from the server unchanged", async ({ db }) => {
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let n = 0; n < 50; n++) {
    const values = Array.from({ length: 1 + random.below(20) }, () => {
      return Array.from({ length: random.below(6) }, () => random.one(HOSTILE)).join("");
    });
    const columns = sql.join(values.map((value, index) => sql`${value}::text AS ${sql.id(`c${index}`)}`));
    const row = await db.sql`SELECT ${columns}`.first();
    assert.deepEqual(Object.values(row!), values, `seed ${seed}`);
  }
});
