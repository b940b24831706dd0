import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { eventually } from "../support/eventually.ts";
import { optionsOf } from "../support/lakebase.ts";
import { notebookFolder } from "../support/notebook.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { sharedGateway } from "../support/shared_servers.ts";
import { RawKernel } from "./raw_kernel.ts";

async function showsWhatItRuns(): Promise<void> {
  await using folder = await notebookFolder();
  const local = await sharedGateway({}, CLUSTER, "slow cell");
  await using kernel = await RawKernel.start({ cwd: folder.path, env: { ...local.env, NO_COLOR: "1" } });
  using frontend = await kernel.frontend();
  await frontend.execute("import { connect } from 'lakebase';\nconst db = await connect();");
  await using holder = await connect(optionsOf(local));
  await using session = await holder.session();
  const textOf = ({ content }: { content: Record<string, unknown> }) =>
    String((content["data"] as Record<string, string> | undefined)?.["text/plain"] ?? "");

  /**
   * Runs a cell that waits for a lock, which this process holds, and releases the lock once the cell has shown its
   * statement.
   */
  const run = async (code: string, shows: number) => {
    await session.sql`SELECT pg_advisory_lock(7)`;
    const before = frontend.published.length;
    const running = frontend.execute(code);
    const shown = () =>
      frontend.published.slice(before).filter(({ header }) => /display_data/.test(`${header.msg_type}`));
    await eventually("the cell shows its statement", () => shown().length >= shows);
    await session.sql`SELECT pg_advisory_unlock(7)`;
    return (await running).outputs.filter(({ type }) => type !== "execute_input");
  };
  const outputs = await run("%%sql\nSELECT pg_advisory_xact_lock_shared(7), 'done' AS state -- slowly", 2);
  const kinds = outputs.map(({ type }) => type);
  const cleared = kinds.indexOf("clear_output");
  assert.deepEqual(kinds.slice(0, 2), ["display_data", "update_display_data"]);
  const text = /^Running SELECT pg_advisory_xact_lock_shared\(7\), 'done' AS state -- slowly \.\.\. (\d+) s$/;
  const [first, second] = outputs.map((output) => Number(text.exec(textOf(output))?.[1]));
  assert.ok(first! >= 1 && second! > first!, outputs.map(textOf).join("\n"));
  assert.deepEqual(kinds.slice(cleared + 1), ["execute_result"]);

  const failed = await run("%%sql\nSELECT pg_advisory_xact_lock_shared(7);\nSELECT 1 / 0", 1);
  const types = failed.map(({ type }) => type);
  assert.match(textOf(failed[0]!), /^Running SELECT pg_advisory_xact_lock_shared\(7\); SELECT 1 \/ 0 \.\.\. \d+ s$/);
  assert.deepEqual(types.slice(types.indexOf("clear_output") + 1), ["error"]);
}

Deno.test({
  ...requires(
    "(slow) a %%sql cell shows its statement after a second, and only its result at the end",
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: showsWhatItRuns,
});
