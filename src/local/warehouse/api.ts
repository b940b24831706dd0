import { byteLength } from "../../core/bytes.ts";
import type { LocalWarehouse } from "../../core/local_options.ts";
import { ApiError, invalid, notFound, readObject } from "../api_json.ts";
import type { Database } from "../database.ts";
import { delay } from "../faults.ts";
import { isParameterType, type Parameter } from "./dialect.ts";
import type { WarehouseFaults } from "./faults.ts";
import { ResultLinks } from "./links.ts";
import type { ResultCollector } from "./result.ts";
import { Statement, type StatementRequest } from "./statement.ts";
import { Warehouse } from "./warehouse.ts";

/** Options of {@linkcode WarehouseApi}. */
interface WarehouseApiOptions {
  warehouses: readonly LocalWarehouse[];
  /** The names of the catalogs. Each of them means the database. */
  catalogs: readonly string[];
  /** The workspace's user, who created the warehouses. */
  owner: string;
  database: Database;
  faults: WarehouseFaults;
  now(): Date;
}

/** A call of the API whose caller is known. */
interface WarehouseCall {
  method: string;
  path: string;
  userName: string;
  /** Reads the body as JSON. `limit` is in bytes. */
  body(limit: number): Promise<unknown>;
}

const MAX_STATEMENT_BYTES = 16 << 20;
/** Limit of a request, in bytes. JSON may need six for a character of the statement. */
const MAX_BODY_BYTES = 6 * MAX_STATEMENT_BYTES;
/** Milliseconds for which a result is kept. */
const RESULT_LIFETIME = 3_600_000;
/** Limit of the results that are kept. */
const MAX_RESULTS = 100;
/** Limit of the statements whose state is kept. Databricks keeps it for 12 hours. */
const MAX_STATEMENTS = 10_000;
/** The number of parameters that Postgres accepts. */
const MAX_PARAMETERS = 65_535;

/** SQL warehouses and the Statement Execution API: `/api/2.0/sql/`. */
export class WarehouseApi {
  readonly warehouses: readonly Warehouse[];
  readonly #options: WarehouseApiOptions;
  readonly #links: ResultLinks;
  readonly #catalogs: ReadonlySet<string>;
  readonly #statements = new Map<string, Statement>();
  readonly #closing = new AbortController();

  constructor(options: WarehouseApiOptions) {
    this.#options = options;
    this.warehouses = options.warehouses.map((warehouse) => new Warehouse(warehouse, options.owner));
    this.#catalogs = new Set(options.catalogs.map((catalog) => catalog.toLowerCase()));
    const { faults, now } = options;
    this.#links = new ResultLinks({ faults, now, chunks: (id) => this.#statements.get(id)?.result?.chunks });
  }

  /** Answers a call; `undefined` for a call of another API. */
  async answer(call: WarehouseCall): Promise<unknown> {
    const path = /^\/api\/2\.0\/sql\/(warehouses|statements)(?:\/([^/]+)(\/.+)?)?\/?$/;
    const [, kind, id, action = ""] = path.exec(call.path) ?? [];
    if (kind === undefined) return undefined;
    const route = call.method + action;
    if (kind === "warehouses") return id === undefined ? this.#list(call) : this.#warehouse(id, route);
    if (id === undefined) return call.method === "POST" ? await this.#submit(call) : undefined;
    return await this.#statement(id, route, call.userName);
  }

  unref(): void {
    this.#links.unref();
  }

  /** Stops every warehouse, as an administrator may. */
  stopAll(): void {
    for (const warehouse of this.warehouses) if (!warehouse.deleted) warehouse.stop();
  }

  /** Ends the calls and the links. Statements that can't be canceled end with the database. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const statement of this.#statements.values()) statement.cancel();
    await this.#links.close();
  }

  /** Waits until all statements have ended, and removes their results. */
  async remove(): Promise<void> {
    await Promise.all([...this.#statements.values()].map(({ ended }) => ended));
    this.#links.remove();
  }

  #list({ method }: WarehouseCall): unknown {
    if (method !== "GET") throw new ApiError(501, "NOT_IMPLEMENTED", "The local workspace's warehouses are fixed");
    return { warehouses: this.warehouses.map((warehouse) => warehouse.json("localhost")) };
  }

  #warehouse(id: string, route: string): unknown {
    const warehouse = this.warehouses.find((warehouse) => warehouse.id === id);
    if (warehouse === undefined) throw notFound(`SQL warehouse with ID ${id} does not exist`);
    if (route === "GET") return warehouse.json("localhost");
    if (!["POST/start", "POST/stop", "DELETE"].includes(route)) return undefined;
    if (warehouse.deleted) throw new ApiError(400, "INVALID_STATE", `SQL warehouse ${id} is deleted`);
    if (route === "POST/start") warehouse.start();
    else warehouse.stop(route === "DELETE" ? "DELETED" : "STOPPED");
    return {};
  }

  async #submit({ userName, body }: WarehouseCall): Promise<unknown> {
    const fields = readObject(await body(MAX_BODY_BYTES));
    const id = readText(fields, "warehouse_id");
    const warehouse = this.warehouses.find((warehouse) => warehouse.id === id && !warehouse.deleted);
    if (warehouse === undefined) throw invalid(`${id} is not a valid endpoint id.`);
    const request = readStatementRequest(fields);
    const { timeout, cancels } = readWait(fields);
    await this.#expire();
    const { database, faults, now } = this.#options;
    const environment = { database, faults, now, links: this.#links, catalogs: this.#catalogs };
    const statement = new Statement(request, userName, warehouse, environment);
    this.#statements.set(statement.id, statement);
    if (timeout > 0) await this.#wait(statement, timeout, cancels);
    return this.#response(statement);
  }

  /** Waits for the end of a statement, and cancels the statement after the timeout if `cancels` is true. */
  async #wait(statement: Statement, timeout: number, cancels: boolean): Promise<void> {
    const waiting = new AbortController();
    await Promise.race([statement.ended, delay(timeout, AbortSignal.any([waiting.signal, this.#closing.signal]))]);
    waiting.abort();
    if (!cancels || statement.endedAt !== undefined) return;
    statement.cancel();
    await statement.ended;
  }

  async #statement(id: string, route: string, userName: string): Promise<unknown> {
    const statement = this.#statements.get(id);
    if (statement?.owner !== userName) throw notFound(`The statement ${id} was not found.`);
    if (route === "GET") return this.#response(statement);
    if (route === "POST/cancel") {
      statement.cancel();
      return {};
    }
    if (route === "DELETE") {
      await statement.close();
      return {};
    }
    const chunk = /^GET\/result\/chunks\/(\d{1,9})$/.exec(route)?.[1];
    return chunk === undefined ? undefined : this.#chunk(statement, Number(chunk));
  }

  #response(statement: Statement): unknown {
    const { id: statement_id, status, result } = statement;
    if (result === undefined) return { statement_id, status };
    return {
      statement_id,
      status,
      manifest: manifest(statement, result),
      result: result.chunks.length === 0 ? {} : this.#chunk(statement, 0),
    };
  }

  /** The rows of a chunk, or a link to them. */
  #chunk(statement: Statement, index: number): unknown {
    const { id, state, result, request: { disposition } } = statement;
    if (result === undefined) {
      const code = state === "CLOSED" ? "NOT_FOUND" : "BAD_REQUEST";
      throw new ApiError(state === "CLOSED" ? 404 : 400, code, `The statement ${id} has no result: it is ${state}.`);
    }
    const chunk = result.chunks[index];
    if (chunk === undefined) {
      throw invalid(`There is no chunk ${index}: the result has ${result.chunks.length} chunks.`);
    }
    const next = index + 1 < result.chunks.length
      ? {
        next_chunk_index: index + 1,
        next_chunk_internal_link: `/api/2.0/sql/statements/${id}/result/chunks/${index + 1}`,
      }
      : {};
    const position = { chunk_index: index, row_offset: chunk.offset, row_count: chunk.rows };
    if (disposition === "INLINE") return { ...position, ...next, data_array: chunk.inline };
    return { external_links: [{ ...position, byte_count: chunk.size, ...next, ...this.#links.link(id, index) }] };
  }

  /** Removes the oldest results and statements, because a server may run for weeks. */
  async #expire(): Promise<void> {
    const oldest = this.#options.now().getTime() - RESULT_LIFETIME;
    const ended = [...this.#statements.values()].filter(({ endedAt }) => endedAt !== undefined);
    const withResult = ended.filter(({ result }) => result !== undefined);
    for (const [at, statement] of withResult.entries()) {
      if (at < withResult.length - MAX_RESULTS || statement.endedAt! < oldest) await statement.close();
    }
    for (const { id } of ended.slice(0, -MAX_STATEMENTS)) this.#statements.delete(id);
  }
}

/** `manifest` of a result. */
function manifest({ schema, request: { format, disposition } }: Statement, result: ResultCollector): unknown {
  const external = disposition === "EXTERNAL_LINKS";
  const chunks = result.chunks.map(({ rows, offset, size }, index) => ({
    chunk_index: index,
    row_offset: offset,
    row_count: rows,
    ...(external ? { byte_count: size } : {}),
  }));
  return {
    format,
    schema,
    total_chunk_count: chunks.length,
    ...(chunks.length > 0 ? { chunks } : {}),
    total_row_count: result.rows,
    ...(external ? { total_byte_count: result.bytes } : {}),
    truncated: result.truncated,
  };
}

/**
 * Reads the body of `POST /api/2.0/sql/statements`.
 *
 * @throws {ApiError} 400 if a field is missing or wrong.
 */
export function readStatementRequest(fields: Record<string, unknown>): StatementRequest {
  const statement = readText(fields, "statement");
  if (byteLength(statement) > MAX_STATEMENT_BYTES) {
    throw invalid(`The maximum query text size is ${MAX_STATEMENT_BYTES} bytes.`);
  }
  const disposition = readOneOf(fields, "disposition", ["INLINE", "EXTERNAL_LINKS"] as const);
  const format = readOneOf(fields, "format", ["JSON_ARRAY", "ARROW_STREAM", "CSV"] as const);
  if (disposition === "INLINE" && format !== "JSON_ARRAY") {
    throw invalid("The format field must be JSON_ARRAY when the disposition field is INLINE.");
  }
  return {
    statement,
    disposition,
    format,
    parameters: readParameters(fields["parameters"]),
    catalog: readOptionalText(fields, "catalog"),
    schema: readOptionalText(fields, "schema"),
    rowLimit: readLimit(fields, "row_limit"),
    byteLimit: readLimit(fields, "byte_limit"),
  };
}

function readParameters(value: unknown): Parameter[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid("Field 'parameters' must be a list");
  if (value.length > MAX_PARAMETERS) throw invalid(`A statement can have at most ${MAX_PARAMETERS} parameters`);
  const names = new Set<string>();
  return value.map((item) => {
    const fields = readObject(item);
    const name = readText(fields, "name");
    if (names.has(name)) throw invalid(`The parameter '${name}' is given twice`);
    names.add(name);
    const type = (readOptionalText(fields, "type") ?? "STRING").toUpperCase().trim();
    if (!isParameterType(type)) throw invalid(`The type '${type}' of the parameter '${name}' is not supported`);
    return { name, type, value: readOptionalText(fields, "value", true) ?? null };
  });
}

/** Reads how long the call waits for the statement, in milliseconds, and whether it then cancels the statement. */
function readWait(fields: Record<string, unknown>): { timeout: number; cancels: boolean } {
  const wait = readOptionalText(fields, "wait_timeout") ?? "10s";
  const seconds = Number(/^(\d{1,3})s$/.exec(wait)?.[1] ?? NaN);
  if (!(seconds === 0 || seconds >= 5 && seconds <= 50)) {
    throw invalid(`The wait_timeout ${wait} is not valid: it must be 0s (disabled) or between 5s and 50s.`);
  }
  const cancels = readOneOf(fields, "on_wait_timeout", ["CONTINUE", "CANCEL"] as const) === "CANCEL";
  return { timeout: seconds * 1000, cancels };
}

function readText(fields: Record<string, unknown>, name: string): string {
  const value = readOptionalText(fields, name);
  if (value === undefined) throw invalid(`Field '${name}' is required, expected non-default value (not "")!`);
  return value;
}

/**
 * Reads a text; `undefined` if there is none. The value of a parameter may be empty or have any character, because Postgres
 * checks it.
 */
function readOptionalText(fields: Record<string, unknown>, name: string, isValue = false): string | undefined {
  const value = fields[name];
  if (value === undefined || value === null || value === "" && !isValue) return undefined;
  if (typeof value !== "string") throw invalid(`Field '${name}' must be a string`);
  // A text ends with this character in Postgres's protocol.
  if (value.includes("\0") && !isValue) throw invalid(`Field '${name}' has a character of code zero`);
  return value;
}

function readOneOf<Name extends string>(fields: Record<string, unknown>, field: string, names: readonly Name[]): Name {
  const value = fields[field] ?? names[0];
  const name = names.find((name) => name === value);
  if (name === undefined) throw invalid(`Field '${field}' must be one of ${names.join(", ")}`);
  return name;
}

function readLimit(fields: Record<string, unknown>, name: string): number {
  const value = fields[name] ?? 0;
  // An int64 is a text in the JSON of protobuf.
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isSafeInteger(number) || number < 0) {
    throw invalid(`Field '${name}' must be a positive integer`);
  }
  return number === 0 ? Infinity : number;
}
