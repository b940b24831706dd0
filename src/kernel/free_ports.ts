/**
 * Below the ports that Linux (32768), macOS and Windows (49152) hand out by themselves: one of those may be another
 * program's before it is listened on, the more so on a busy machine.
 */
const LOWEST = 20_000;
const HIGHEST = 32_767;

/** Ports of loopback on which nothing listens at this moment, each another. */
export function freePorts(count: number): number[] {
  using held = new DisposableStack();
  return Array.from({ length: count }, () => held.use(listenSomewhere()).addr.port);
}

function listenSomewhere(): Deno.TcpListener {
  for (let tries = 1;; tries++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    try {
      return Deno.listen({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}
