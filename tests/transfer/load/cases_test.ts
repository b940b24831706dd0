import assert from "node:assert/strict";
import { connect, type LoadOptions } from "../../../mod.ts";
import { requires } from "../../support/requirements.ts";
import { casesFolder, casesMissing, python, pythonReadersMissing } from "../formats/readers.ts";

/** Runs `make.py` without its largest file, which `bench/transfer.ts` loads. */
const MAKE = `
import sys, runpy, re
text = open(sys.argv[1]).read()
small = "\\n".join(line for line in text.splitlines() if '"wide30.parquet"' not in line)
assert small != text
sys.argv = ["make.py", sys.argv[2]]
exec(compile(small, "make.py", "exec"))
print("null")
`;

/** The expected result of loading each file with some options: its rows as JSON, or the error. */
const CASES: [file: string, options: LoadOptions, expected: unknown[][] | RegExp][] = [
  ["int96.parquet", {}, [
    ["0001-01-01T00:00:00"],
    ["1600-01-01T00:00:00"],
    ["2024-03-02T12:30:00"],
    ["9999-12-31T03:00:00"],
  ]],
  ["dataset/", {}, [
    [1, 0.5, 2025, "Café / 1"],
    [1, null, 2025, "Harlem"],
    [1, null, 2025, null],
    [2, null, 2025, "Café / 1"],
    [2, null, 2025, "Harlem"],
    [2, null, 2025, null],
    [3, 2.25, 2025, "Café / 1"],
    [3, null, 2025, "Harlem"],
    [3, null, 2025, null],
  ]],
  ["backslash.csv", { escape: "\\" }, [[1, 'say "hi"'], [2, "a\\b"]]],
  ["inch.csv", {}, [[1, '6" x'], [2, '7" y']]],
  ["object.csv", {}, [[1, '{"a": 1}'], [2, 'a "b" c']]],
  ["index.csv", {}, /index: "drop"/],
  ["index.csv", { index: "drop" }, [[1, "a"], [2, "b"]]],
  ["latin1.csv", {}, /encoding/],
  ["latin1.csv", { encoding: "latin1" }, [[1, "Zoë"]]],
  ["semicolon.csv", { decimal: "," }, [[1, 3.5], [2, 4.25]]],
  ["blank.csv", {}, /line 3/],
  ["blank.csv", { skipBlankLines: true }, [[1, "a"], [2, "b"]]],
  ["mixed.csv", {}, /line 2.*skipBlankLines: true/s],
  ["mixed.csv", { skipBlankLines: true }, [[1, "a"], [2, "b"]]],
  ["array.json", {}, [[1, "a"], [2, null]]],
];

Deno.test({
  ...requires("(slow) the files of make.py are loaded correctly", casesMissing, pythonReadersMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await python(MAKE, `${casesFolder()}/make.py`, folder);
      await using db = await connect({ local: {} });
      for (const [index, [file, options, expected]] of CASES.entries()) {
        const table = `case_${index}`;
        const load = () => db.load(table, `${folder}/${file}`, { create: true, ...options });
        if (expected instanceof RegExp) {
          await assert.rejects(load, expected, file);
          continue;
        }
        assert.equal((await load()).rows, expected.length, file);
        const rows = await db.query(`SELECT to_json(t) AS row FROM ${table} AS t`);
        const found = rows.map((row) => Object.values((row as { row: object }).row));
        const inOrder = (list: unknown[][]) => list.map((row) => JSON.stringify(row)).sort();
        assert.deepEqual(inOrder(found), inOrder(expected), file);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
