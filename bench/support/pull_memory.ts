import { connect } from "../../mod.ts";

/** What is pulled, and from where. */
export interface MemoryOptions {
  port: number;
  password: string;
  /** The authority's certificate. */
  caFile: string;
  /** The file; its extension is the format. */
  target: string;
}

/** Megabytes that a process of its own has resident at most while it pulls the table `many`. */
export async function peakMemory(options: MemoryOptions): Promise<number> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.url, JSON.stringify(options)],
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

if (import.meta.main) {
  const { port, password, caFile, target } = JSON.parse(Deno.args[0]!) as MemoryOptions;
  let most = 0;
  const sample = () => most = Math.max(most, Deno.memoryUsage().rss);
  const timer = setInterval(sample, 20);
  await using db = await connect({
    host: "127.0.0.1",
    port,
    user: "postgres",
    database: "postgres",
    password,
    ca: caFile,
  });
  await db.pull("many", target);
  sample();
  clearInterval(timer);
  await Deno.remove(target);
  await Deno.stdout.write(new TextEncoder().encode((most / 1e6).toFixed(1)));
}
