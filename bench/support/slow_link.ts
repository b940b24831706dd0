/**
 * A TCP link with latency: every byte arrives `delay` milliseconds after it was sent, in either direction, and any
 * number of bytes may be in flight. Run it in a separate process (`deno run -A slow_link.ts <port> <delay>`), which
 * prints its port.
 */

interface Delayed {
  bytes: Uint8Array;
  due: number;
}

if (import.meta.main) {
  const [port, delay] = Deno.args.map(Number);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await Deno.stdout.write(new TextEncoder().encode(`${(listener.addr as Deno.NetAddr).port}\n`));
  for await (const client of listener) link(client, port!, delay!).catch(() => {});
}

async function link(client: Deno.TcpConn, port: number, delay: number): Promise<void> {
  using server = await Deno.connect({ hostname: "127.0.0.1", port });
  using _client = client;
  for (const conn of [client, server]) conn.setNoDelay(true);
  await Promise.all([pass(client, server, delay), pass(server, client, delay)]).catch(() => {});
}

async function pass(from: Deno.TcpConn, to: Deno.TcpConn, delay: number): Promise<void> {
  const delayed: Delayed[] = [];
  let wake = Promise.withResolvers<void>();
  let ended = false;
  const write = async () => {
    while (true) {
      const next = delayed.shift();
      if (next === undefined) {
        if (ended) return;
        await wake.promise;
        wake = Promise.withResolvers();
        continue;
      }
      const wait = next.due - performance.now();
      if (wait > 0.5) await new Promise((resolve) => setTimeout(resolve, wait));
      for (let at = 0; at < next.bytes.length;) at += await to.write(next.bytes.subarray(at));
    }
  };
  const read = async () => {
    while (true) {
      const buffer = new Uint8Array(262_144);
      const length = await from.read(buffer);
      if (length === null) break;
      delayed.push({ bytes: buffer.subarray(0, length), due: performance.now() + delay });
      wake.resolve();
    }
    ended = true;
    wake.resolve();
  };
  await Promise.all([read(), write()]);
  await to.closeWrite();
}

/** Starts such a link in a separate process. */
export async function startSlowLink(port: number, delay: number): Promise<{ port: number } & AsyncDisposable> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.url, `${port}`, `${delay}`],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  return {
    port: Number(new TextDecoder().decode(value)),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await reader.cancel();
      await child.status;
    },
  };
}
