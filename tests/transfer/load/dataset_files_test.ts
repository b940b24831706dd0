import assert from "node:assert/strict";
import { findFiles, matchesName, splitGlob } from "../../../src/transfer/load/dataset_files.ts";
import { partitionsOf } from "../../../src/transfer/load/partitions.ts";
import { LOCAL_FILES } from "../../../src/transfer/stores.ts";

Deno.test("matchesName() matches as a shell does, in linear time", () => {
  const cases: [pattern: string, name: string, matches: boolean][] = [
    ["*.csv", "a.csv", true],
    ["*.csv", ".csv", true],
    ["*.csv", "a.csv.gz", false],
    ["a?c", "aéc", true],
    ["a?c", "a😀c", true],
    ["a?c", "ac", false],
    ["[a-c]x", "bx", true],
    ["[!a-c]x", "bx", false],
    ["[]]x", "]x", true],
    ["[a", "[a", true],
    ["*a*b", "xaxxb", true],
    ["*a*b", "xbxxa", false],
    ["a.c", "abc", false],
    ["", "", true],
  ];
  for (const [pattern, name, matches] of cases) assert.equal(matchesName(pattern, name), matches, `${pattern} ${name}`);
  assert.equal(matchesName("*a".repeat(200) + "b", "a".repeat(255)), false);
});

Deno.test("splitGlob() splits each alternative of a glob at its first wildcard", () => {
  const split = (glob: string) => splitGlob(glob).map(({ root, parts }) => [root, ...parts].join(" | "));
  assert.deepEqual(split("trips/**/*.csv"), ["trips | ** | *.csv"]);
  assert.deepEqual(split("/*.csv"), ["/ | *.csv"]);
  assert.deepEqual(split("*.csv"), [" | *.csv"]);
  assert.deepEqual(split("{a,b}/x.csv"), ["a | x.csv", "b | x.csv"]);
  assert.throws(() => splitGlob("{a,b}".repeat(30)), /more than 1,000 alternatives/);
});

Deno.test("partitionsOf() reads the folders named name=value", () => {
  assert.deepEqual([...partitionsOf("t/year=2025/zone=Caf%C3%A9%20%2F%201/p.csv")], [["year", "2025"], [
    "zone",
    "Café / 1",
  ]]);
  assert.deepEqual([...partitionsOf("t/z=__HIVE_DEFAULT_PARTITION__/x=a=b/c=100%/d=%ff/p.csv")], [
    ...[["z", null], ["x", "a=b"], ["c", "100%"], ["d", "%ff"]] as const,
  ]);
  assert.deepEqual([...partitionsOf("t/=x/a=b.csv")], []);
  assert.throws(() => partitionsOf("t/a=1/a=2/p.csv"), /names? the partition a twice/);
  assert.throws(() => partitionsOf("t/a=/p.csv"), /"a=" has no value/);
});

Deno.test({
  name: "findFiles() says that a file does not exist even if its folder may not be read",
  permissions: { read: ["/nowhere/none.csv"] },
  fn: async () => {
    await assert.rejects(findFiles("/nowhere/none.csv", LOCAL_FILES), {
      code: "BAD_FILE",
      message: "Cannot load /nowhere/none.csv: there is no such file",
    });
  },
});
