import assert from "node:assert/strict";
import { CertificateAuthority } from "../../../src/local/certificate.ts";
import { postgresMissing, startPostgres } from "../../support/postgres.ts";
import { requires } from "../../support/requirements.ts";
import { script } from "../../support/transfers.ts";

/** Pulls a million rows over TLS into a stream that takes a megabyte a second, or a file. Returns the peak memory. */
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
  console.log(JSON.stringify({ bytes, growth, code: error.code, message: String(error) }));
  await db.close();
`;

Deno.test({
  ...requires(
    "(slow) a slow reader of a pull over TLS makes the server wait, and memory does not grow",
    postgresMissing,
  ),
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
    const { bytes, growth, code, message } = JSON.parse(output);
    assert.equal(code, "CANCELED", message);
    assert.ok(bytes > 0 && bytes < 10_000_000, `${bytes} bytes`);
    assert.ok(growth < 50_000_000, `${growth / 1e6} MB more`);
  },
});
