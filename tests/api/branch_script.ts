// A script that makes a branch and ends in a given way; see branch_test.ts.
import { connect } from "../../mod.ts";

const [how] = Deno.args;
const db = await connect({ branch: "production", ca: Deno.env.get("PGSSLROOTCERT")! });
const copy = await db.branch();
await Deno.stdout.write(new TextEncoder().encode(copy.name));
if (how === "exit") Deno.exit(0);
if (how === "throw") throw new Error("on purpose");
if (how === "signal") setInterval(() => {}, 1000); // until the signal
