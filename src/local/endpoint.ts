import type { LocalEndpoint } from "./project.ts";

/** A compute endpoint, as the API tells of it and as the Postgres port obeys it. */
export class Endpoint {
  /** `projects/p/branches/b/endpoints/e`. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly disabled: boolean;
  /** Undefined where it has no hosts yet. */
  readonly host: string | undefined;
  readonly pooledHost: string | undefined;
  readonly readOnlyHost: string | undefined;
  /** Changes while it is served: a suspended one is IDLE. */
  state: NonNullable<LocalEndpoint["state"]>;
  readonly #id: string;

  constructor(name: string, settings: LocalEndpoint) {
    const { id, type = "READ_WRITE", state = "ACTIVE", disabled = false, host = "localhost", readOnlyHost } = settings;
    this.name = name;
    this.readOnly = type === "READ_ONLY";
    this.disabled = disabled;
    this.state = state;
    this.#id = id;
    if (settings.withoutHosts) return;
    this.host = host;
    this.pooledHost = this.readOnly ? undefined : pooled(host);
    this.readOnlyHost = readOnlyHost;
  }

  /** The names that a client may ask for in TLS. */
  get hosts(): string[] {
    return [this.host, this.pooledHost, this.readOnlyHost].filter((host) => host !== undefined);
  }

  /** `status` in the API's answer. */
  get status(): Record<string, unknown> {
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

/** `ep-x.database...` becomes `ep-x-pooler.database...`; a bare name goes under `.localhost`. */
function pooled(host: string): string {
  const [first, ...rest] = host.split(".");
  return rest.length ? [`${first}-pooler`, ...rest].join(".") : `${first}-pooler.localhost`;
}
