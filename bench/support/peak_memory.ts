import { connect } from "../../mod.ts";

/** The transfer, and the address of the server. */
export interface MemoryOptions {
  port: number;
  password: string;
  /** The authority's certificate. */
  caFile: string;
  /** The direction of the transfer. */
  action: "pull" | "load";
  /** The table; one to load into is made. */
  table: string;
  /** The file; its extension is the format. */
  file: string;
}

/** What a transfer took. */
export interface Took {
  /** Peak resident memory of the process, in megabytes. */
  megabytes: number;
  /** Seconds without the connecting. */
  seconds: number;
}

/** Runs a transfer in a separate process. */
export async function peakMemory(options: MemoryOptions): Promise<Took> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.url, JSON.stringify(options)],
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

if (import.meta.main) {
  const { port, password, caFile, action, table, file } = JSON.parse(Deno.args[0]!) as MemoryOptions;
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
  const started = performance.now();
  if (action === "pull") await db.pull(table, file);
  else await db.load(table, file, { create: true });
  const seconds = (performance.now() - started) / 1000;
  sample();
  clearInterval(timer);
  const took: Took = { megabytes: most / 1e6, seconds };
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(took)));
}
