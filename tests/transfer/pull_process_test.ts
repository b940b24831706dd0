import assert from "node:assert/strict";
import { startLocal } from "../../src/local/mod.ts";
import { CertificateAuthority } from "../../src/local/certificate.ts";
import { sleep } from "../query/support.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { requires } from "../support/requirements.ts";
import { namesIn } from "./support.ts";

const ROOT = new URL("../../", import.meta.url);

/** A script in a process of its own, with this module's names. */
function script(code: string, env: Record<string, string>): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", "--no-check", "--config", new URL("deno.json", ROOT).pathname, code],
    cwd: ROOT,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

const MANY = "SELECT n, repeat('x', 100) AS x FROM generate_series(1, 30000000) n";

Deno.test({
  name: "a signal that ends the program takes the unfinished file with it",
  ignore: Deno.build.os === "windows",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async (t) => {
    await using local = await startLocal();
    const listening = `
      const controller = new AbortController();
      Deno.addSignalListener("SIGINT", () => controller.abort(new Error("asked to stop")));
    `;
    const cases = [
      { name: "SIGINT", before: "", options: "", signal: "SIGINT", code: 130, said: "" },
      { name: "SIGTERM", before: "", options: "", signal: "SIGTERM", code: 143, said: "" },
      {
        name: "SIGINT that the program itself heeds",
        before: listening,
        options: ", { signal: controller.signal }",
        signal: "SIGINT",
        code: 0,
        said: "asked to stop\n",
      },
    ] as const;
    for (const { name, before, options, signal, code, said } of cases) {
      await t.step(name, async () => {
        const folder = await Deno.makeTempDir({ prefix: "lakebase-pull-" });
        const child = script(
          `import { connect } from "lakebase";
          ${before}
          const db = await connect();
          await db.sql\`${MANY}\`.pull("${folder}/t.csv"${options}).catch((error) => console.log(error.message));
          await db.close();`,
          { ...local.env, PGSSLROOTCERT: local.ca },
        );
        while (!namesIn(folder).some((file) => file.endsWith(".part"))) await sleep(10);
        await sleep(300);
        child.kill(signal);
        const { code: ended, stdout, stderr } = await child.output();
        assert.equal(ended, code, new TextDecoder().decode(stderr));
        assert.equal(new TextDecoder().decode(stdout), said);
        assert.deepEqual(namesIn(folder), []);
        await Deno.remove(folder);
      });
    }
  },
});

/** Pulls a million rows over TLS into a stream that takes a megabyte a second, or a file; the most memory it took. */
const SLOW = `
  import { connect } from "lakebase";
  const db = await connect();
  await db.query("SELECT 1");
  const before = Deno.memoryUsage().rss;
  let growth = 0;
  let bytes = 0;
  const stream = new WritableStream({
    async write(chunk) {
      bytes += chunk.length;
      growth = Math.max(growth, Deno.memoryUsage().rss - before);
      await new Promise((resolve) => setTimeout(resolve, chunk.length / 1000));
    },
  });
  const query = db.sql\`SELECT n, repeat('x', 100) AS x FROM generate_series(1, 1000000) n\`;
  const error = await query.pull(stream, { format: "csv", timeout: 6 }).catch((error) => error);
  console.log(JSON.stringify({ bytes, growth, code: error.code, said: String(error) }));
  await db.close();
`;

Deno.test({
  ...requires("a slow reader of a pull over TLS has the server wait, and memory does not grow", postgresMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const authority = await CertificateAuthority.create();
    await using server = await startPostgres({ certificate: authority.issue(), password: "secret" });
    const child = script(SLOW, {
      PGHOST: "localhost",
      PGPORT: String(server.port),
      PGUSER: "postgres",
      PGPASSWORD: "secret",
      PGDATABASE: "postgres",
      PGSSLROOTCERT: authority.ca,
    });
    const { stdout, stderr } = await child.output();
    const output = new TextDecoder().decode(stdout);
    assert.ok(output, new TextDecoder().decode(stderr));
    const { bytes, growth, code, said } = JSON.parse(output);
    assert.equal(code, "CANCELED", said);
    assert.ok(bytes > 2_000_000 && bytes < 10_000_000, `${bytes} bytes`);
    assert.ok(growth < 50_000_000, `${growth / 1e6} MB more`);
  },
});
