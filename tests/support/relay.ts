/** Where a {@linkcode relay} listens, and the port of this machine that it leads to. */
interface RelayOptions {
  to: number;
  /** @default {"127.0.0.1"} */
  hostname?: string;
  /** Any free port when not given. */
  port?: number;
}

/** A relay to a server. `forget()` loses what its connections carry from then on, as a firewall does. */
export function relay(
  { to, hostname = "127.0.0.1", port = 0 }: RelayOptions,
): Disposable & { port: number; forget: () => void } {
  const listener = Deno.listen({ hostname, port });
  const open = new Set<Deno.TcpConn>();
  let forgotten = new WeakSet<Deno.TcpConn>();
  const carry = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
    const buffer = new Uint8Array(65_536);
    for (let size = await from.read(buffer); size !== null; size = await from.read(buffer)) {
      for (let at = 0; at < size && !forgotten.has(from);) at += await to.write(buffer.subarray(at, size));
    }
    if (!forgotten.has(from)) await to.closeWrite();
  };
  (async () => {
    for await (const client of listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: to });
      for (const [from, to] of [[client, server], [server, client]] as const) {
        open.add(from);
        carry(from, to).catch(() => {}); // either side may end at any time
      }
    }
  })().catch(() => {});
  return {
    port: (listener.addr as Deno.NetAddr).port,
    forget: () => forgotten = new WeakSet(open),
    [Symbol.dispose]() {
      listener.close();
      for (const conn of open) {
        try {
          conn.close();
        } catch {
          // Its other side has closed it.
        }
      }
    },
  };
}
