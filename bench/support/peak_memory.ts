import { connect, type ConnectOptions } from "../../mod.ts";

/** The login of a workspace. */
export interface WorkspaceLogin {
  host: string;
  token: string;
}

/** The transfer and its file. */
export interface MemoryOptions {
  /** The options for connecting to the server. */
  connect: Pick<ConnectOptions, "host" | "port" | "user" | "database" | "password" | "ca" | "sslMode">;
  /** The workspace of Volumes and SQL warehouses. */
  workspace?: WorkspaceLogin;
  /** The direction of the transfer; `loop` reads the rows of a query one by one. */
  action: "pull" | "load" | "loop";
  /** The name of the table. A table to load into is created. */
  table: string;
  /** The file, whose extension determines the format; or the query of the workspace's SQL warehouse. */
  file: string | { query: string };
}

/** The cost of a transfer. */
export interface TransferCost {
  /** Peak resident memory of the process, in megabytes. */
  megabytes: number;
  /** Seconds, without the time for connecting. */
  seconds: number;
}

/** Runs a transfer in a separate process. */
export async function peakMemory(options: MemoryOptions): Promise<TransferCost> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.url, JSON.stringify(options)],
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** A client of a workspace, in the shape of the SDK's. */
export function workspaceClient({ host, token }: WorkspaceLogin): NonNullable<ConnectOptions["workspace"]> {
  return {
    config: {
      getHost: () => Promise.resolve(new URL(host)),
      authenticate: (headers) => Promise.resolve(headers.set("authorization", `Bearer ${token}`)),
    },
  };
}

/** The peak resident memory so far: as Linux counts it, or else as sampled. */
async function peak(sampled: number): Promise<number> {
  const status = await Deno.readTextFile("/proc/self/status").catch(() => "");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? NaN) * 1024 || sampled;
}

if (import.meta.main) {
  const options: MemoryOptions = JSON.parse(Deno.args[0]!);
  const { action, table, file, workspace } = options;
  let largest = 0;
  const sample = () => largest = Math.max(largest, Deno.memoryUsage().rss);
  const timer = setInterval(sample, 20);
  await using db = await connect({
    ...options.connect,
    ...(workspace === undefined ? {} : { workspace: workspaceClient(workspace) }),
  });
  const lake = typeof file === "string" ? undefined : await db.lakehouse();
  const source = typeof file === "string" ? file : lake!.sql`${lake!.sql.unsafe(file.query)}`;
  const started = performance.now();
  if (action === "load") await db.load(table, source, { create: true });
  else if (typeof source === "string") await db.pull(table, source);
  else for await (const _ of source);
  const seconds = (performance.now() - started) / 1000;
  sample();
  clearInterval(timer);
  const cost: TransferCost = { megabytes: await peak(largest) / 1e6, seconds };
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(cost)));
}
