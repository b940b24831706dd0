import type { LocalLakebase } from "../../src/local/mod.ts";

/** A way to the server that can forget the connections that it has, as a firewall does: what they carry is lost. */
export function forgetfulRelay({ env }: LocalLakebase): Disposable & { port: number; forget: () => void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
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
    for await (const near of listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port: Number(env["PGPORT"]) });
      for (const [from, to] of [[near, far], [far, near]] as const) {
        open.add(from);
        carry(from, to).catch(() => {}).finally(() => open.delete(from));
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
