import type { Branch } from "./branch.ts";
import { commonFields, type Resource } from "./resource.ts";

/** A compute endpoint of a branch. */
export interface LocalEndpoint {
  /** The id in `endpoints/{id}`. */
  id: string;
  /** Whether sessions may write. @default {"READ_WRITE"} */
  type?: "READ_WRITE" | "READ_ONLY";
  /** The compute's state. @default {"ACTIVE"} */
  state?: "ACTIVE" | "IDLE" | "INIT" | "DEGRADED";
  /** Whether every login is refused with SQLSTATE 28000. @default {false} */
  disabled?: boolean;
  /** `status.hosts.host`; logins with this name in SNI go to this endpoint. @default {"localhost"} */
  host?: string;
  /** `status.hosts.read_only_host`; logins with this name in SNI are read only. @default {none} */
  readOnlyHost?: string;
  /** Whether `status.hosts` is missing, as during an endpoint's creation. @default {false} */
  withoutHosts?: boolean;
}

/** A compute endpoint, for the API and for the Postgres port. */
export class Endpoint implements Resource {
  /** `projects/p/branches/b/endpoints/e`. */
  readonly name: string;
  readonly branch: Branch;
  readonly children: Resource["children"] = {};
  readonly readOnly: boolean;
  readonly disabled: boolean;
  /** Undefined if the endpoint has no hosts yet. */
  readonly host: string | undefined;
  readonly pooledHost: string | undefined;
  readonly readOnlyHost: string | undefined;
  /** The compute's state; IDLE while suspended. */
  state: NonNullable<LocalEndpoint["state"]>;
  readonly #id: string;
  readonly #common: Record<string, unknown>;

  constructor(branch: Branch, uid: string, settings: LocalEndpoint) {
    const { id, type = "READ_WRITE", state = "ACTIVE", disabled = false, host = "localhost", readOnlyHost } = settings;
    this.branch = branch;
    this.name = `${branch.name}/endpoints/${id}`;
    this.#common = commonFields(this.name, uid, branch.created, { parent: branch.name, endpoint_id: id });
    this.readOnly = type === "READ_ONLY";
    this.disabled = disabled;
    this.state = state;
    this.#id = id;
    if (settings.withoutHosts) return;
    this.host = host;
    this.pooledHost = this.readOnly ? undefined : pooled(host);
    this.readOnlyHost = readOnlyHost;
  }

  /** The names that a client may send in SNI. */
  get hosts(): string[] {
    return [this.host, this.pooledHost, this.readOnlyHost].filter((host) => host !== undefined);
  }

  /** Whether logins are accepted; an IDLE compute wakes for them. */
  get up(): boolean {
    return !this.disabled && this.state !== "INIT" && this.branch.acceptsLogins;
  }

  /** The API's answer. It changes, because suspending changes the state. */
  get json(): Record<string, unknown> {
    return { ...this.#common, status: this.#status };
  }

  get #status(): Record<string, unknown> {
    const hosts = {
      host: this.host,
      ...(this.pooledHost ? { read_write_pooled_host: this.pooledHost } : {}),
      ...(this.readOnlyHost ? { read_only_host: this.readOnlyHost } : {}),
    };
    return {
      endpoint_id: this.#id,
      endpoint_type: `ENDPOINT_TYPE_${this.readOnly ? "READ_ONLY" : "READ_WRITE"}`,
      current_state: this.state,
      disabled: this.disabled,
      autoscaling_limit_min_cu: 1,
      autoscaling_limit_max_cu: 1,
      suspend_timeout_duration: "86400s",
      ...(this.host ? { hosts } : {}),
    };
  }
}

/** Changes `ep-x.database...` to `ep-x-pooler.database...`, and `name` to `name-pooler.localhost`. */
function pooled(host: string): string {
  const [first, ...rest] = host.split(".");
  return rest.length ? [`${first}-pooler`, ...rest].join(".") : `${first}-pooler.localhost`;
}
