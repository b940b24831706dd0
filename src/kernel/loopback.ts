/**
 * Below the ports that Linux (32768), macOS and Windows (49152) hand out by themselves: one of those may be another
 * program's before it is listened on, the more so on a busy machine.
 */
const LOWEST = 20_000;
const HIGHEST = 32_767;
/** The one that every system has. */
const USUAL = "127.0.0.1";

/**
 * An address of loopback, one of sixteen million where the system has them, as Linux and Windows do: kernels that start in
 * one moment are then not in each other's way, of which none listens yet on what it has chosen.
 */
export function loopbackAddress(): string {
  const address = `127.${[...crypto.getRandomValues(new Uint8Array(3))].map((byte) => 1 + byte % 254).join(".")}`;
  try {
    Deno.listen({ hostname: address, port: 0 }).close();
    return address;
  } catch {
    return USUAL;
  }
}

/** Ports of loopback on which nothing listens at this moment, each another. */
export function freePorts(count: number, address = USUAL): number[] {
  using held = new DisposableStack();
  return Array.from({ length: count }, () => held.use(listenSomewhere(address)).addr.port);
}

function listenSomewhere(hostname: string): Deno.TcpListener {
  for (let tries = 1;; tries++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    try {
      return Deno.listen({ hostname, port });
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}
