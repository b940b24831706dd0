/** Says why a requirement of a test is missing on this machine; `undefined` if it is met. */
export type Missing = () => string | undefined;

/**
 * The name and the `ignore` of a test that needs more than Deno:
 *
 * ```ts ignore
 * Deno.test({ ...requires("a query is cancelled", postgresMissing), fn: async () => {} });
 * ```
 *
 * The name of an ignored test says why it can't run here. With `LAKEBASE_TEST_ALL=1`, which CI sets, no test is
 * ignored: the test runs and fails with the reason.
 */
export function requires(name: string, ...needs: Missing[]): { name: string; ignore: boolean } {
  if (Deno.env.get("LAKEBASE_TEST_ALL") === "1") return { name, ignore: false };
  const reasons = needs.map((missing) => missing()).filter((reason) => reason !== undefined);
  if (reasons.length === 0) return { name, ignore: false };
  return { name: `${name} (ignored: ${reasons.join("; ")})`, ignore: true };
}
