import { concatBytes } from "../../core/bytes.ts";
import { lazyImport } from "../../core/lazy_import.ts";
import { quoteName } from "../../core/sql_text.ts";
import { type Database, DEFAULT_DATABASE, type Login, quoteLiteral } from "../database.ts";
import { delay } from "../faults.ts";
import { type Frame, frame, int32 } from "../messages.ts";
import { DatabaseClient, type DescribedColumn } from "./database_client.ts";
import { type Parameter, translate, type Translation } from "./dialect.ts";
import { StatementError, type StatementFailure, statementFailure } from "./errors.ts";
import type { WarehouseFaults } from "./faults.ts";
import type { ResultLinks } from "./links.ts";
import {
  type ChunkEncoder,
  csvEncoder,
  type Format,
  InlineLimitExceeded,
  jsonEncoder,
  ResultCollector,
  type ResultLimits,
  rowTexts,
} from "./result.ts";
import { readColumnTypes, schemaColumns, type WarehouseType } from "./types.ts";
import { repeatItems, repeatValues } from "./values.ts";
import type { Warehouse } from "./warehouse.ts";

/** `status.state` of a statement. */
type StatementState = "PENDING" | "RUNNING" | "SUCCEEDED" | "FAILED" | "CANCELED" | "CLOSED";

/** A statement as it was submitted. */
export interface StatementRequest {
  statement: string;
  parameters: Parameter[];
  catalog: string | undefined;
  schema: string | undefined;
  disposition: "INLINE" | "EXTERNAL_LINKS";
  format: Format;
  rowLimit: number;
  byteLimit: number;
}

/** What a statement needs to run. */
interface StatementEnvironment {
  database: Database;
  faults: WarehouseFaults;
  links: ResultLinks;
  /** The names of the catalogs in lower case. */
  catalogs: ReadonlySet<string>;
  now(): Date;
}

const MEBIBYTE = 1 << 20;
const INLINE_LIMIT = 25 * MEBIBYTE;
const CHUNK_BYTES = 16 * MEBIBYTE;
/** Bytes after which an external result is truncated, if the request sets no limit. */
const EXTERNAL_LIMIT = 100 * 1024 * MEBIBYTE;

/** Milliseconds between two attempts to cancel. An attempt before the database has begun has no effect. */
const CANCEL_INTERVAL = 50;

/** A statement that runs on a warehouse. */
export class Statement {
  /** The id, which has the form of Databricks' ids. */
  readonly id: string = `01f0${crypto.randomUUID().slice(4, 14)}1${crypto.randomUUID().slice(15)}`;
  /** The user who submitted the statement. */
  readonly owner: string;
  readonly request: StatementRequest;
  /** Resolves when the statement has ended. */
  readonly ended: Promise<void>;
  /** Milliseconds since the epoch; `undefined` until the statement has ended. */
  endedAt: number | undefined;
  readonly #warehouse: Warehouse;
  readonly #environment: StatementEnvironment;
  readonly #stop = new AbortController();
  #state: StatementState = "PENDING";
  #failure: StatementFailure | undefined;
  #columns: DescribedColumn[] = [];
  #types: WarehouseType[] = [];
  #result: ResultCollector | undefined;

  constructor(request: StatementRequest, owner: string, warehouse: Warehouse, environment: StatementEnvironment) {
    this.request = request;
    this.owner = owner;
    this.#warehouse = warehouse;
    this.#environment = environment;
    this.ended = this.#run();
  }

  get state(): StatementState {
    return this.#state;
  }

  /** `status` of the statement. */
  get status(): Record<string, unknown> {
    return { state: this.#state, ...this.#failure };
  }

  /** The result of a statement that has succeeded. */
  get result(): ResultCollector | undefined {
    return this.#state === "SUCCEEDED" ? this.#result : undefined;
  }

  /** `schema` of the result. */
  get schema(): Record<string, unknown> {
    const columns = schemaColumns(this.#columns, this.#types);
    return { column_count: columns.length, ...(columns.length > 0 ? { columns } : {}) };
  }

  /** Cancels the statement if it has not ended. */
  cancel(): void {
    this.#stop.abort(new Canceled());
  }

  /** Cancels the statement if it has not ended, and removes the result. */
  async close(): Promise<void> {
    this.cancel();
    await this.ended;
    const files = this.#result?.chunks.flatMap(({ path }) => path ?? []) ?? [];
    this.#result = undefined;
    if (this.#state === "SUCCEEDED") this.#state = "CLOSED";
    await Promise.all(files.map((path) => Deno.remove(path).catch(() => {})));
  }

  async #run(): Promise<void> {
    const { faults } = this.#environment;
    const ended = new AbortController();
    const stop = () => this.#stop.abort(new StatementError("ABORTED", WAREHOUSE_STOPPED));
    this.#warehouse.stopped.addEventListener("abort", stop, { signal: ended.signal });
    let indexOf = (_position: number): number => 0;
    try {
      await faults.mayLeave("PENDING", this.#stop.signal);
      await this.#warehouse.running(this.#stop.signal);
      const failure = faults.takeFailure();
      this.#state = "RUNNING";
      await faults.mayLeave("RUNNING", this.#stop.signal);
      if (failure !== undefined) {
        throw new StatementError(failure.errorCode ?? "BAD_REQUEST", failure.message, failure.sqlState);
      }
      const { statement, parameters } = this.request;
      const translation = translate(statement, parameters, this.#environment.catalogs);
      indexOf = translation.indexOf;
      await this.#inSession((client) => this.#execute(client, translation));
      this.#state = "SUCCEEDED";
    } catch (error) {
      const canceled = this.#stop.signal.aborted && this.#stop.signal.reason instanceof Canceled;
      this.#state = canceled ? "CANCELED" : "FAILED";
      if (!canceled) this.#failure = statementFailure(this.#causeOf(error), this.request.statement, indexOf);
    }
    ended.abort();
    this.endedAt = this.#environment.now().getTime();
  }

  /** Returns why the statement was stopped, if it was, and otherwise the error. */
  #causeOf(error: unknown): unknown {
    if (this.#stop.signal.aborted) return this.#stop.signal.reason;
    if (!(error instanceof InlineLimitExceeded)) return error;
    return new StatementError(
      "BAD_REQUEST",
      `Inline byte limit exceeded. Statements executed with disposition=INLINE can have a result size of at most ` +
        `${INLINE_LIMIT} bytes. Please execute the statement with disposition=EXTERNAL_LINKS if you want to download the ` +
        "full result.",
    );
  }

  /** Opens a session for some work, and cancels its statement when this statement is stopped. */
  async #inSession(work: (client: DatabaseClient) => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    const settled = new AbortController();
    const client = await DatabaseClient.open(this.#environment.database, this.#login());
    const cancel = async (): Promise<void> => {
      for (; !settled.signal.aborted; await delay(CANCEL_INTERVAL, settled.signal)) await client.cancel();
    };
    signal.addEventListener("abort", cancel, { signal: settled.signal });
    try {
      signal.throwIfAborted();
      await work(client);
      signal.throwIfAborted();
    } catch (error) {
      await client.cancel(); // the remaining rows are not needed
      throw error;
    } finally {
      settled.abort();
      client.close();
    }
  }

  #login(): Login {
    const { schema } = this.request;
    const parameters = new Map([["TimeZone", "UTC"], ["application_name", "databricks-sql"]]);
    if (schema !== undefined) parameters.set("search_path", quoteName(schema));
    return { role: this.owner, database: DEFAULT_DATABASE, parameters, readOnly: false };
  }

  async #execute(client: DatabaseClient, { sql, types, values }: Translation): Promise<void> {
    await this.#checkNamespace(client);
    const columns = await client.prepare(sql, types);
    const columnTypes = await readColumnTypes(client, columns ?? []);
    const repeatTo = this.#environment.faults.columns;
    this.#columns = repeatTo === undefined ? columns ?? [] : repeatItems(columns ?? [], repeatTo);
    this.#types = repeatTo === undefined ? columnTypes : repeatItems(columnTypes, repeatTo);
    this.#stop.signal.throwIfAborted();
    this.#result = await this.#collector();
    const formats = columnTypes.map(({ asText }) => asText ? 0 : 1);
    const add = (row: Frame) => this.#result!.add(repeatTo === undefined ? row : repeatValues(row, repeatTo));
    const tag = await client.execute(values, formats, add);
    if (columns === undefined && tag !== undefined) await this.#countRows(tag);
    await this.#result.finish();
  }

  /** Fails if the catalog or the schema of the request does not exist. */
  async #checkNamespace(client: DatabaseClient): Promise<void> {
    const { catalog, schema } = this.request;
    if (catalog !== undefined && !this.#environment.catalogs.has(catalog.toLowerCase())) {
      const message =
        `[NO_SUCH_CATALOG_EXCEPTION] Catalog '${catalog}' was not found. Please verify the catalog name and ` +
        "then retry the query or command again. SQLSTATE: 42704";
      throw new StatementError("BAD_REQUEST", message, "42704");
    }
    if (schema === undefined) return;
    const find = `SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) ${quoteLiteral(schema)}`;
    if ((await client.query(find)).length > 0) return;
    const message =
      `[SCHEMA_NOT_FOUND] The schema \`${schema}\` cannot be found. Verify the spelling and correctness of ` +
      "the schema and catalog. SQLSTATE: 42704";
    throw new StatementError("BAD_REQUEST", message, "42704");
  }

  /** Makes the result that a statement on a Delta table has if it changes rows and returns none. */
  async #countRows(tag: string): Promise<void> {
    const [, command, count] = /^(INSERT|UPDATE|DELETE|SELECT)(?: 0)? (\d+)$/.exec(tag) ?? [];
    if (command === undefined) return;
    const inserts = command === "INSERT" || command === "SELECT"; // SELECT is the tag of CREATE TABLE AS
    const names = ["num_affected_rows", ...(inserts ? ["num_inserted_rows"] : [])];
    this.#columns = names.map((name) => ({ name, oid: 20, modifier: -1 }));
    this.#types = names.map(() => ({ kind: "long", name: "LONG", text: "BIGINT" }));
    this.#result = await this.#collector();
    await this.#result.add(bigintRow(names.map(() => BigInt(count!))));
  }

  /** Makes the collector for the rows: in memory for an inline result, else in files. */
  async #collector(): Promise<ResultCollector> {
    const { disposition, rowLimit: rows, byteLimit: bytes } = this.request;
    const { chunkRows } = this.#warehouse;
    const limits: ResultLimits = { rows, bytes, inlineBytes: Infinity, chunkRows, chunkBytes: CHUNK_BYTES };
    if (bytes === Infinity) limits.bytes = EXTERNAL_LIMIT;
    if (disposition === "INLINE") {
      let inline: (string | null)[][] = [];
      return new ResultCollector(
        { ...limits, bytes, inlineBytes: INLINE_LIMIT },
        (row) => inline.push(rowTexts(row, this.#types)),
        (chunk) => {
          const rows = inline;
          inline = [];
          return Promise.resolve({ ...chunk, size: 0, inline: rows });
        },
      );
    }
    const encoder = await this.#encoder();
    return new ResultCollector(limits, (row) => encoder.append(row), async (chunk) => {
      const bytes = encoder.take(chunk.rows);
      return { ...chunk, size: bytes.length, path: await this.#environment.links.store(bytes) };
    });
  }

  async #encoder(): Promise<ChunkEncoder> {
    const names = this.#columns.map(({ name }) => name);
    if (this.request.format === "JSON_ARRAY") return jsonEncoder(this.#types);
    if (this.request.format === "CSV") return csvEncoder(names, this.#types);
    const { arrowEncoder } = await lazyImport<typeof import("./arrow.ts")>(import.meta.resolve("./arrow.ts"));
    return arrowEncoder(names, this.#types);
  }
}

/** Why a statement ended that its user canceled. */
class Canceled extends Error {}

const WAREHOUSE_STOPPED = "The SQL warehouse was stopped before the statement was over.";

/** Makes a DataRow of 64-bit integers. */
function bigintRow(values: bigint[]): Frame {
  const columns = values.map((value) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, value);
    return concatBytes([int32(8), bytes]);
  });
  return frame("D", new Uint8Array([0, values.length]), ...columns);
}
