import { freePorts } from "../../src/kernel/connection_file.ts";

/** A TCP port on loopback that nothing listens on at this moment. */
export function freePort(): number {
  return freePorts(1)[0]!;
}
