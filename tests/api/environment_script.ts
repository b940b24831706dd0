// Connects once for each variable and value, and prints the outcome of each as a JSON line. It runs in a separate
// process, because all tests share one environment.
import { connect } from "../../mod.ts";

for (const [name, value] of JSON.parse(await Deno.readTextFile(Deno.args[0]!)) as [string, string][]) {
  const before = Deno.env.get(name);
  Deno.env.set(name, value);
  let outcome: unknown;
  try {
    await using db = await connect({ envFile: false, connectTimeout: 5 });
    outcome = { value: await db.sql`SELECT 1`.value() };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    outcome = { code, message, printed: Deno.inspect(error) };
  }
  if (before === undefined) Deno.env.delete(name);
  else Deno.env.set(name, before);
  // deno-lint-ignore no-console -- what the test reads
  console.log(JSON.stringify(outcome));
}
