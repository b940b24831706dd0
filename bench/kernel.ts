/**
 * Compares the kernel "Deno + SQL" with Deno's own kernel, side by side in one run.
 * Run with `deno run -A bench/kernel.ts [cells of the memory test]`.
 */

import { OURS, RawKernel, STOCK } from "../tests/kernel/raw_kernel.ts";
import { median } from "./support/timing.ts";

const STARTS = 7;
const KERNELS = 4;
const ROUNDS = 500;
const WARM_UP = 100;
const STREAM_MB = 100;
const CELLS = Number(Deno.args[0] ?? 10_000);

const table: Record<string, { stock: string; ours: string; difference: string }> = {};
await measureStart();
await measureCells();
await measureStream();
await measureMemory();
// deno-lint-ignore no-console -- a benchmark's output
console.table(table);

async function measureStart(): Promise<void> {
  const took = { stock: [] as number[], ours: [] as number[] };
  for (let n = 0; n < STARTS; n++) {
    for (const [name, command] of [["stock", STOCK], ["ours", OURS]] as const) {
      const started = performance.now();
      await using kernel = await RawKernel.start({ command });
      using frontend = await kernel.frontend();
      await frontend.execute("1");
      took[name].push(performance.now() - started);
    }
  }
  row("start to first result, ms", median(took.stock), median(took.ours), "ratio");
}

async function measureCells(): Promise<void> {
  await roundTrips("cell, no output", (n) => `void ${n}`);
  await roundTrips("cell, a result", (n) => `1 + ${n}`);
  await roundTrips("cell, an await", (n) => `await ${n}`);
  await roundTrips("cell, an error", (n) => `throw new Error('${n}')`);
}

/**
 * Runs different cells, as a person does, because V8 caches compiled code. New kernels are started several times, because
 * garbage collection takes longer in an old kernel.
 */
async function roundTrips(what: string, code: (n: number) => string): Promise<void> {
  const reply = { stock: [] as number[], ours: [] as number[] };
  const idle = { stock: [] as number[], ours: [] as number[] };
  for (let round = 0; round < KERNELS; round++) {
    await using stock = await RawKernel.start({ command: STOCK });
    await using ours = await RawKernel.start({ command: OURS });
    using one = await stock.frontend();
    using other = await ours.frontend();
    const kernels = { stock: one, ours: other };
    for (let n = 0; n < WARM_UP + ROUNDS; n++) {
      for (const name of n % 2 === 0 ? ["stock", "ours"] as const : ["ours", "stock"] as const) {
        const { replyAt, idleAt } = await kernels[name].execute(code(n));
        kernels[name].published.length = 0;
        if (n < WARM_UP) continue;
        reply[name].push(replyAt);
        idle[name].push(Math.max(replyAt, idleAt));
      }
    }
  }
  row(`${what}: reply, median ms`, median(reply.stock), median(reply.ours));
  row(`${what}: reply, p99 ms`, p99(reply.stock), p99(reply.ours));
  row(`${what}: reply and idle, median ms`, median(idle.stock), median(idle.ours));
  row(`${what}: reply and idle, p99 ms`, p99(idle.stock), p99(idle.ours));
}

async function measureStream(): Promise<void> {
  const took = { stock: [] as number[], ours: [] as number[] };
  const cpu = { stock: [] as number[], ours: [] as number[] };
  const corrupt = { stock: 0, ours: 0 };
  const unreadable = { stock: 0, ours: 0 };
  for (let n = 0; n < 5; n++) {
    for (const name of n % 2 === 0 ? ["stock", "ours"] as const : ["ours", "stock"] as const) {
      for (;;) {
        const streamed = await stream(name === "stock" ? STOCK : OURS).catch((error: Error) => error);
        if (streamed instanceof Error) {
          if (++unreadable[name] === 20) throw streamed;
          continue;
        }
        took[name].push(...streamed.map(({ took }) => took));
        cpu[name].push(...streamed.map(({ cpu }) => cpu));
        corrupt[name] += streamed.reduce((sum, { corrupt }) => sum + corrupt, 0);
        break;
      }
    }
  }
  row(`${STREAM_MB} MB of stream, ms`, median(took.stock), median(took.ours), "ratio");
  row("  CPU time of the kernel's processes, ms", median(cpu.stock), median(cpu.ours), "ratio");
  row("  corrupt messages in 15 such runs", corrupt.stock, corrupt.ours);
  row("  further runs that could not be read to the end", unreadable.stock, unreadable.ours);
}

/** Measures three times in a warm kernel, until all outputs have arrived. On the stock kernel that may be after `idle`. */
async function stream(command: readonly string[]): Promise<{ took: number; cpu: number; corrupt: number }[]> {
  await using kernel = await RawKernel.start({ command });
  using frontend = await kernel.frontend();
  const code = `for (let n = 0; n < ${STREAM_MB}; n++) console.log("x".repeat(1e6 - 1))`;
  const once = async () => {
    frontend.published.length = 0;
    const corrupt = frontend.invalid;
    const used = cpuMilliseconds(kernel.process.pid);
    const started = performance.now();
    await frontend.execute(code);
    const arrived = () => frontend.published.filter(({ header }) => header.msg_type === "stream").length;
    while (arrived() < STREAM_MB && performance.now() - started < 20_000) await pause(2);
    const took = performance.now() - started;
    return { took, cpu: cpuMilliseconds(kernel.process.pid) - used, corrupt: frontend.invalid - corrupt };
  };
  await once();
  return [await once(), await once(), await once()];
}

async function measureMemory(): Promise<void> {
  await using kernel = await RawKernel.start({ command: OURS });
  using frontend = await kernel.frontend();
  const after = async (cells: number) => {
    for (let n = 0; n < cells; n++) {
      await frontend.execute(`console.log(${n}); ${n}`);
      frontend.published.length = 0;
    }
    return residentMegabytes(kernel.process.pid);
  };
  await after(Math.min(1000, CELLS));
  const before = residentMegabytes(kernel.process.pid);
  const end = await after(CELLS);
  row(`memory of the kernel before and after ${CELLS} cells, MB`, before, end);
}

/** Linux only. */
function residentMegabytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) / 1000;
}

/** The CPU time of a process and its children, with a resolution of 10 ms. Linux only. */
function cpuMilliseconds(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
  const children = [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name: thread }) =>
    Deno.readTextFileSync(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean)
  );
  const own = (Number(fields[11]) + Number(fields[12])) * 10;
  return children.reduce((sum, child) => sum + cpuMilliseconds(Number(child)), own);
}

function row(what: string, stock: number, ours: number, as: "difference" | "ratio" = "difference"): void {
  const difference = as === "ratio" ? `${(ours / stock).toFixed(2)}x` : (ours - stock).toFixed(2);
  table[what] = { stock: stock.toFixed(2), ours: ours.toFixed(2), difference };
}

function p99(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)]!;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
