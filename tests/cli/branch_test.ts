import assert from "node:assert/strict";
import { cliTest } from "./support.ts";

cliTest(
  "(slow) branch create prints the variables that connect to the branch, and every command takes --branch",
  async ({ run }) => {
    const loaded = await run(["query", "CREATE TABLE fares AS SELECT n AS fare FROM generate_series(-1, 8) AS n"]);
    assert.equal(loaded.code, 0, loaded.stderr);
    const made = await run(["branch", "create", "try-it", "--ttl", "2h"]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(
      made.stderr,
      /^Created branch try-it; it expires at 20\S+Z. Drop it with: lakebase branch drop try-it\n$/,
    );
    const variables = Object.fromEntries(
      [...made.stdout.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
    );
    assert.equal(variables["LAKEBASE_ENDPOINT"], "projects/local/branches/try-it/endpoints/primary");
    assert.equal(variables["LAKEBASE_BRANCH"], "try-it");
    assert.equal(variables["PGHOSTADDR"], "127.0.0.1");
    assert.match(variables["PGHOST"]!, /^ep-local-\w+\.localhost$/);
    const deleted = await run(["query", "DELETE FROM fares WHERE fare < 0"], { env: variables });
    assert.equal(deleted.code, 0, deleted.stderr);
    const count = ["query", "SELECT count(*) FROM fares", "--format", "csv", "--no-header"];
    assert.equal((await run([...count, "--branch", "try-it"])).stdout, "9\n");
    assert.equal((await run(count)).stdout, "10\n");
    const differs = await run(["branch", "diff", "try-it", "fares"]);
    assert.match(
      differs.stdout,
      /^public\.fares: from branch production to branch try-it\n[^]*removed +\| +1\n/,
      differs.stderr,
    );
    assert.equal((await run(["branch", "diff", "try-it", "--format", "json"])).stdout.trim(), "[]");
    const counted = await run(["branch", "diff", "try-it", "fares", "--format", "json"]);
    assert.equal(counted.stdout.trim(), "[]");
    assert.match(
      counted.stderr,
      /^public\.fares: 0 added, 1 removed, 0 changed; only 0 of them are printed, as the tables/,
    );
    const inUse = await run(["branch", "drop", "try-it", "--branch", "try-it"]);
    assert.match(inUse.stderr, /this command connects to it; leave out --branch \(LAKEBASE_BRANCH\)/);
    const listed = await run(["branch", "list", "--format", "json"]);
    const found = JSON.parse(listed.stdout) as { name: string; parent: string | null; expires: string | null }[];
    assert.deepEqual(found.map(({ name, parent }) => [name, parent]), [["production", null], ["try-it", "production"]]);
    assert.match(found[1]!.expires!, /^20\d\d-/);
    assert.match((await run(["branch", "list"])).stdout, /try-it +\| READY +\| production/);
    const dropped = await run(["branch", "drop", "try-it", "--purge"]);
    assert.deepEqual([dropped.code, dropped.stderr], [0, "Dropped branch try-it\n"]);
    await run(["query", "DROP TABLE fares"]);
  },
);

cliTest("(slow) branch writes errors in the terms of a shell", async ({ run }) => {
  const cases: [string[], number, RegExp][] = [
    [["branch", "create", "Big"], 2, /NAME is "Big"; it must be 1 to 63 lower-case letters/],
    [["branch", "create", "--at", "yesterday"], 2, /--at is "yesterday"; it must be a time with its zone/],
    [["branch", "create", "--ttl", "soon"], 2, /It must be a number of seconds, or a time such as 30m, 8h or 7d/],
    [
      ["branch", "create", "--ttl", "31d"],
      2,
      /--ttl is 2678400; it must be .* from 1 to 2592000 \(30 days\), or --no-ttl/,
    ],
    [
      ["branch", "create", "--from", "nine"],
      1,
      /there is no branch projects\/local\/branches\/nine; see lakebase branch list/,
    ],
    [["branch", "drop", "none"], 1, /no branch has that name; see lakebase branch list/],
    [["branch", "diff", "production"], 2, /with itself; name another branch than the one that the command is/],
    [["query", "--warehouse", "w", "--branch", "b", "SELECT 1"], 2, /--branch is for a Lakebase/],
    [["branch", "drop", "production"], 2, /it is the project's default branch/],
    [["branch", "drop", "productin"], 1, /\[ENDPOINT_NOT_FOUND\] .*did you mean "production"\?/],
    [["branch", "drop"], 2, /missing required argument 'name'/],
    [["branch", "lst"], 2, /unknown command 'lst'/],
    [["query", "--branch", "none", "SELECT 1"], 1, /projects\/local\/branches\/none is not in the workspace/],
    [["query", "--branch", "a b", "SELECT 1"], 2, /--branch \(LAKEBASE_BRANCH\) is "a b"; it must be a branch's id/],
    [["query", "--branch", "b", "--host", "h.example.com", "SELECT 1"], 2, /option --host is "h.example.com", and/],
  ];
  for (const [args, code, message] of cases) {
    const done = await run(args);
    assert.match(done.stderr, message);
    assert.equal(done.code, code, args.join(" "));
  }
});
