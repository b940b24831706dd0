import { freePorts } from "../../src/kernel/connection_file.ts";

/** A TCP port on loopback on which nothing listens now. */
export function freePort(): number {
  return freePorts(1)[0]!;
}
