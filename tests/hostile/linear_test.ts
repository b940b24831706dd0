import assert from "node:assert/strict";
import { parsePattern, possibleNames, unambiguousName } from "../../src/catalog/names.ts";
import { withoutEndSlashes } from "../../src/core/text.ts";
import { readVolumePath } from "../../src/core/file_store.ts";
import { parseTableName } from "../../src/lake/catalog.ts";
import { statementError } from "../../src/lake/answer.ts";
import { parseType, readNested } from "../../src/lake/types.ts";
import { DatabaseError } from "../../src/local/warehouse/database_client.ts";
import { commandLineOptions } from "../../src/local/database.ts";
import { statementFailure } from "../../src/local/warehouse/errors.ts";
import { classifyFailure } from "../../src/net/failure.ts";
import { readChannel } from "../../src/plot/source.ts";
import { scanDotenv } from "../../src/settings/environment.ts";
import { parseProfiles } from "../../src/settings/profiles.ts";
import { matchesName, splitGlob } from "../../src/transfer/load/dataset_files.ts";
import { errorOf, queryTest } from "../support/queries.ts";
import { sized } from "../support/random.ts";

const TO = { host: "h.example.com", port: 5432, database: "d", user: "u", native: false };

/**
 * The functions that read a text of a server, a file or a person. The readers of errors and of cells have separate
 * tests.
 */
const READERS: Record<string, (text: string) => unknown> = {
  "a warehouse's error": (message) => statementError({ message }, "SELECT 1"),
  "a warehouse's error with its place": (text) =>
    statementError({ message: `a${text} SQLSTATE: 42P01; line 1 pos 1${text}` }, text),
  "a refused login": (text) =>
    classifyFailure(Object.assign(new Error(text), { severity: "FATAL", code: "08006" }), TO),
  "a broken connection": (text) => classifyFailure(Object.assign(new Error(text), { code: "EPIPE" }), TO),
  "an error of the local warehouse": (text) =>
    statementFailure(new DatabaseError({ C: "22P02", M: text }), "SELECT 1", () => 0),
  "a warehouse's type": parseType,
  "a warehouse's nested value": (text) => readNested(text, { name: "STRUCT" }),
  "a table's name": (text) => [possibleNames(text), unambiguousName(text)],
  "a table's name in a lakehouse": parseTableName,
  "a pattern of names": parsePattern,
  "a folder's path": (text) => withoutEndSlashes(`${text}x`),
  "a Volume's path": (text) => readVolumePath(`/Volumes/${text}`),
  "a glob": splitGlob,
  "a glob of 100,000 characters": (text) => splitGlob(text.slice(0, 100_000)),
  "a glob's part": (text) => matchesName(text.slice(0, 100_000), "a"),
  "a chart's channel": (text) => readChannel("x", text, []),
  "a file of profiles": (text) => parseProfiles(text, "profiles"),
  "a .env file": (text) => scanDotenv(`A="${text}`),
  "settings of a login": (text) => commandLineOptions(text.slice(0, 10_000)), // the longest packet of a login
};

const PIECES = [
  "a",
  " ",
  "\n",
  '"',
  '\\"',
  "(",
  "[",
  "{,",
  "/",
  ". ",
  "1",
  "\n at ",
  "SSL ",
  "inline ",
  "SQLSTATE ",
  "a.b.",
];

Deno.test("(slow) all patterns for texts of a server, a file or a person take linear time on hostile text", () => {
  for (const piece of PIECES) {
    const text = piece.repeat(Math.ceil(sized(1_000_000, 10_000_000) / piece.length));
    for (const [name, read] of Object.entries(READERS)) {
      try { // quadratic time would take hours
        read(text);
      } catch (error) {
        assert.equal((error as Error).name, "LakebaseError", `${name} of ${JSON.stringify(piece)}: ${error}`);
      }
    }
  }
});

queryTest(
  "(slow) a line of NDJSON with a string of 12 MB is loaded, and escaped quotes take linear time",
  async ({ db }) => {
    await db.query("CREATE TABLE long_lines (a text)");
    const path = await Deno.makeTempFile({ suffix: ".ndjson" });
    const load = async (line: string) => {
      await Deno.writeTextFile(path, `${line}\n`);
      return await db.load("long_lines", path);
    };
    try {
      for (const [piece, times] of [["x", 12_000_000], ['\\"', 1_000_000], ["\\\\", 1_000_000]] as const) {
        await load(`{"a":"${piece.repeat(times)}"}`);
        const [row] = await db.query("DELETE FROM long_lines RETURNING length(a) AS n");
        assert.deepEqual(row, { n: times });
      }
      for (
        const line of ['\\"'.repeat(1_000_000), `{"a":"${'\\"'.repeat(1_000_000)}`, `{"a":"${"x".repeat(12_000_000)}`]
      ) {
        assert.match((await errorOf(load(line))).message, /line 1 is not JSON/);
      }
    } finally {
      await Deno.remove(path);
      await db.query("DROP TABLE long_lines");
    }
  },
);
