import type net from "node:net";

/** The handle of a socket; over TLS it has the one of the connection below as its parent. */
interface Handle {
  _parent?: { readStop?(): unknown; readStart?(): unknown };
}

/**
 * Reads nothing more from a connection, so that the server has to wait. To pause the socket is not enough over TLS: Deno goes
 * on reading, and decrypts into memory without a bound.
 */
export function holdReading(socket: net.Socket): void {
  socket.pause();
  handleOf(socket)?._parent?.readStop?.();
}

/** Ends {@linkcode holdReading}. */
export function resumeReading(socket: net.Socket): void {
  handleOf(socket)?._parent?.readStart?.();
  socket.resume();
}

function handleOf(socket: net.Socket): Handle | null | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle;
}
