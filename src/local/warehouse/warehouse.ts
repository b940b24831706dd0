import { createHash } from "node:crypto";
import type { LocalWarehouse } from "../../core/local_options.ts";

/** A SQL warehouse, which can start and stop. */
export class Warehouse {
  readonly id: string;
  readonly name: string;
  readonly chunkRows: number;
  readonly #startTime: number;
  readonly #creator: string;
  #state: NonNullable<LocalWarehouse["state"]>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Resolves at the next change of the state. */
  #changed = Promise.withResolvers<void>();
  #stopped = new AbortController();

  constructor({ name, id, state = "RUNNING", startTime = 0, chunkRows = Infinity }: LocalWarehouse, creator: string) {
    this.name = name;
    this.id = id ?? createHash("sha256").update(name).digest("hex").slice(0, 16);
    this.chunkRows = chunkRows;
    this.#startTime = startTime;
    this.#creator = creator;
    this.#state = state;
    if (state === "STARTING") this.#beginStart();
  }

  get state(): NonNullable<LocalWarehouse["state"]> {
    return this.#state;
  }

  /** Whether the warehouse accepts no statements and can't be started. */
  get deleted(): boolean {
    return this.#state === "DELETED" || this.#state === "DELETING";
  }

  /** Aborts when the warehouse is next stopped or deleted. */
  get stopped(): AbortSignal {
    return this.#stopped.signal;
  }

  start(): void {
    if (this.#state === "STOPPED" || this.#state === "STOPPING") this.#beginStart();
  }

  /** Stops the warehouse, which ends its statements. */
  stop(state: "STOPPED" | "DELETED" = "STOPPED"): void {
    clearTimeout(this.#timer);
    this.#setState(state);
    this.#stopped.abort();
    this.#stopped = new AbortController();
  }

  /** Starts the warehouse if necessary, and resolves when it is running. Rejects with the signal's reason. */
  async running(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal.addEventListener("abort", abort);
    try {
      for (;;) {
        signal.throwIfAborted();
        this.start();
        if (this.#state === "RUNNING") return;
        await Promise.race([this.#changed.promise, aborted.promise]);
      }
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** The JSON of the API. */
  json(host: string): Record<string, unknown> {
    const path = `/sql/1.0/warehouses/${this.id}`;
    return {
      id: this.id,
      name: this.name,
      size: "XXSMALL",
      cluster_size: "2X-Small",
      min_num_clusters: 1,
      max_num_clusters: 1,
      num_clusters: this.#state === "RUNNING" ? 1 : 0,
      num_active_sessions: 0,
      auto_stop_mins: 10,
      auto_resume: true,
      creator_name: this.#creator,
      state: this.#state,
      spot_instance_policy: "COST_OPTIMIZED",
      enable_photon: true,
      enable_serverless_compute: true,
      warehouse_type: "PRO",
      channel: { name: "CHANNEL_NAME_CURRENT" },
      odbc_params: { hostname: host, path, port: 443, protocol: "https" },
      health: { status: "HEALTHY" },
    };
  }

  #beginStart(): void {
    this.#setState("STARTING");
    this.#timer = setTimeout(() => this.#setState("RUNNING"), this.#startTime);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  #setState(state: Warehouse["state"]): void {
    this.#state = state;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
