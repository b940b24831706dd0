import type { Failure } from "./messages.ts";

/** A login or a session that ends with a FATAL; `failure` is what the client is told. */
export class Refused extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.name = "Refused";
    this.failure = failure;
  }
}

/** What a server that is shut down tells its sessions. */
export const SHUTDOWN: Failure = {
  sqlstate: "57P01",
  message: "terminating connection due to administrator command",
};
