import type { Workspace } from "../auth/workspace.ts";
import { LakebaseError } from "../core/errors.ts";
import { backoff, pause } from "../core/pause.ts";
import { countText, sentence } from "../core/text.ts";
import { isTraced, traced, type TracedServer } from "../core/trace.ts";
import { announceStart } from "../draw/notices.ts";
import { until } from "../sql/stop.ts";
import {
  canceledError,
  closedError,
  cutOffError,
  expiredError,
  lostError,
  readPart,
  readStatement,
  type ResultPart,
  type StatementAnswer,
  statementError,
  submissionError,
  unreadableAnswer,
} from "./answer.ts";
import { findWarehouse, type WarehouseInfo, WAREHOUSES } from "./find_warehouse.ts";
import type { ChunkSource } from "./links.ts";
import type { WarehouseStatement } from "./statement.ts";
import type { JsonRow, ManifestColumn } from "./types.ts";

const STATEMENTS = "/api/2.0/sql/statements";

/**
 * The seconds for which the API waits for the result before it answers: the fewest that it accepts besides 0, because only
 * the answer has the id by which the statement can be canceled.
 */
const WAIT_SECONDS = 5;
/**
 * The number of polls, which take about four seconds, after which a PENDING statement probably waits for its warehouse
 * to start.
 */
const POLLS_BEFORE_NOTICE = 6;
/** The milliseconds after which a submission is given up. The API may hold its answer back. */
const SUBMIT_LIMIT_MS = 45_000;
/** The maximum bytes of an answer with rows. The API's limit is 25 MiB, to which JSON adds quotes and escapes. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;
/** The milliseconds for which Stop waits for the request to cancel. The request goes on after this wait. */
const CANCEL_WAIT_MS = 500;

/** The result of a statement that has run. */
export interface WarehouseResult {
  /** The statement's id. */
  id: string;
  /** The columns. */
  columns: readonly ManifestColumn[];
  /** The number of rows of the result; `undefined` if it is not known. */
  rows: number | undefined;
  /** Whether the limit left out some rows. */
  truncated: boolean;
  /** The rows of an inline result. */
  inline: readonly JsonRow[];
  /** The chunks of an external result. */
  source: ChunkSource;
  /** The milliseconds from the submission to the end of the statement. */
  elapsed: number;
}

/** How a statement runs. */
interface StatementOptions {
  /** Whether the rows come with the answer, as JSON. Otherwise they come by links, as Arrow. */
  inline: boolean;
  /** The maximum number of rows of the result. It changes neither the statement nor its effects. */
  rowLimit?: number | undefined;
  /** Ends the wait for the statement, and cancels the statement in the warehouse. */
  signal?: AbortSignal | undefined;
}

/** The parts that a {@linkcode Warehouse} is made from. */
interface WarehouseParts {
  /** The workspace. */
  workspace: Workspace;
  /** The warehouse. */
  info: WarehouseInfo;
  /** The catalog of names without one. */
  catalog: string | undefined;
  /** The schema of names without one. */
  schema: string | undefined;
}

/** Finds a warehouse, and starts it if it is stopped. */
export async function openWarehouse(
  workspace: Workspace,
  { warehouse, catalog, schema }: Pick<WarehouseParts, "catalog" | "schema"> & { warehouse: string | undefined },
  signal?: AbortSignal,
): Promise<Warehouse> {
  const info = await findWarehouse(workspace, warehouse, signal);
  const opened = new Warehouse({ workspace, info, catalog, schema });
  if (info.state === "STOPPED" || info.state === "STOPPING") await opened.start(signal);
  return opened;
}

/** The requests to cancel that have no answer yet. */
const canceling = new Set<Promise<void>>();

/** Waits for the answers to all requests to cancel. A program that ends earlier may leave statements running. */
export async function untilAllCanceled(): Promise<void> {
  while (canceling.size > 0) await Promise.allSettled(canceling);
}

/** A SQL warehouse, called through the Statement Execution API. Each statement is submitted only once, whatever happens. */
export class Warehouse {
  /**
   * The seconds for which the API waits for the result before its first answer: 0, or at least 5. A statement can't be
   * canceled before that answer, so a program that ends when it is stopped uses 0.
   */
  waitSeconds: number = WAIT_SECONDS;
  readonly #parts: WarehouseParts;
  /** Ends the notice that the warehouse starts. */
  #endNotice: (() => void) | undefined;
  #wasAnnounced = false;

  /** Made by {@linkcode openWarehouse}. */
  constructor(parts: WarehouseParts) {
    this.#parts = parts;
  }

  /** The warehouse, in the state in which it was found. */
  get info(): WarehouseInfo {
    return this.#parts.info;
  }

  /** The catalog of names without one. */
  get catalog(): string | undefined {
    return this.#parts.catalog;
  }

  /** The schema of names without one. */
  get schema(): string | undefined {
    return this.#parts.schema;
  }

  /**
   * Asks the warehouse to start, and announces that. A failure is ignored: a login without the right to start a warehouse
   * may use it, and its first statement starts it.
   */
  async start(signal?: AbortSignal): Promise<void> {
    this.#announce("because it was stopped");
    const path = `${WAREHOUSES}/${encodeURIComponent(this.info.id)}/start`;
    await this.#parts.workspace.request({ method: "POST", path, body: {}, about: this.#about }, signal).catch(() => {
      signal?.throwIfAborted();
    });
  }

  /**
   * Runs a statement.
   *
   * @throws {LakebaseError} `QUERY_FAILED` with the warehouse's message; `CONNECTION_LOST` if it is not known whether
   * the statement ran; `CANCELED` if someone else canceled the statement; the reason of the signal.
   */
  async execute(statement: WarehouseStatement, options: StatementOptions): Promise<WarehouseResult> {
    options.signal?.throwIfAborted();
    const executing = () => this.#execute(statement, options);
    if (!isTraced()) return await executing();
    return await traced({ text: statement.text, server: await this.server() }, executing);
  }

  /** The server, for traces. */
  async server(): Promise<TracedServer> {
    const { workspace, catalog, schema } = this.#parts;
    const { hostname: address, port, protocol } = new URL(await workspace.origin());
    const namespace = [catalog, schema].filter((part) => part !== undefined).join("|");
    return { system: "databricks", namespace, address, port: Number(port) || (protocol === "http:" ? 80 : 443) };
  }

  async #execute(statement: WarehouseStatement, options: StatementOptions): Promise<WarehouseResult> {
    const { signal } = options;
    const started = performance.now();
    const submitting = this.#submit(statement, options);
    try {
      const submitted = await until(submitting, signal);
      const answer = await this.#follow(submitted, statement, signal);
      this.#endNotice?.();
      this.#endNotice = undefined;
      const { truncated, total_row_count: rows } = answer.manifest ?? {};
      if (truncated === true && options.rowLimit === undefined) throw cutOffError(rows);
      return await this.#result(answer, options, performance.now() - started);
    } catch (error) {
      if (!signal?.aborted) throw error;
      await this.#cancel(submitting);
      throw signal.reason;
    }
  }

  get #about(): string {
    return `the SQL warehouse "${this.info.name}"`;
  }

  async #submit(
    { text, parameters }: WarehouseStatement,
    { inline, rowLimit }: StatementOptions,
  ): Promise<StatementAnswer> {
    const { workspace, info, catalog, schema } = this.#parts;
    const body = {
      warehouse_id: info.id,
      statement: text,
      ...(parameters.length === 0 ? {} : { parameters }),
      ...(catalog === undefined ? {} : { catalog }),
      ...(schema === undefined ? {} : { schema }),
      disposition: inline ? "INLINE" : "EXTERNAL_LINKS",
      format: inline ? "JSON_ARRAY" : "ARROW_STREAM",
      wait_timeout: `${this.waitSeconds}s`,
      on_wait_timeout: "CONTINUE",
      ...(rowLimit === undefined ? {} : { row_limit: rowLimit }),
    };
    const deadline = Math.max(workspace.deadline(), Date.now() + SUBMIT_LIMIT_MS);
    const request = {
      method: "POST" as const,
      path: STATEMENTS,
      body,
      about: this.#about,
      once: true,
      attemptLimit: SUBMIT_LIMIT_MS,
      longest: MAX_ANSWER_BYTES,
    };
    // The signal does not end this request: only its answer has the id by which the statement can be canceled.
    const { body: answer } = await workspace.request(request, undefined, deadline).catch((error) => {
      throw submissionError(error, text, this.#about);
    });
    return readStatement(answer);
  }

  /** Follows a statement to its end. */
  async #follow(
    submitted: StatementAnswer,
    { text }: WarehouseStatement,
    signal: AbortSignal | undefined,
  ): Promise<StatementAnswer> {
    let answer = submitted;
    for (let polls = 0;; polls++) {
      const state = answer.status?.state;
      if (state === "SUCCEEDED") return answer;
      if (state === "FAILED") throw statementError(answer.status?.error ?? {}, text, answer.status?.sql_state);
      if (state === "CANCELED") throw canceledError(answer.status?.error);
      if (state === "CLOSED") throw closedError();
      if (state !== "PENDING" && state !== "RUNNING") {
        throw lostError(`the workspace says that its state is ${state ?? "none"}`);
      }
      if (answer.statement_id === undefined) {
        throw lostError(`the workspace says that its state is ${state}, and gives no id`);
      }
      if (state === "PENDING" && polls === (this.waitSeconds === 0 ? POLLS_BEFORE_NOTICE : 0)) {
        await this.#noticeStart(signal);
      }
      await pause(backoff(Math.min(polls, 5), { first: 100, most: 3000 }), signal);
      answer = await this.#poll(answer.statement_id, signal);
    }
  }

  async #poll(id: string, signal: AbortSignal | undefined): Promise<StatementAnswer> {
    const path = `${STATEMENTS}/${encodeURIComponent(id)}`;
    const request = { method: "GET" as const, path, about: "the statement", longest: MAX_ANSWER_BYTES };
    const { body } = await this.#parts.workspace.request(request, signal).catch((error) => {
      signal?.throwIfAborted();
      if (!(error instanceof LakebaseError)) throw error;
      throw new LakebaseError(
        "CONNECTION_LOST",
        `Cannot follow the statement: ${
          sentence(error.message)
        } The statement was submitted, and whether it takes effect is not known`,
        { cause: error },
      );
    });
    return readStatement(body);
  }

  async #result(
    answer: StatementAnswer,
    { inline, signal }: StatementOptions,
    elapsed: number,
  ): Promise<WarehouseResult> {
    const { statement_id: id = "", manifest = {}, result = {} } = answer;
    const { total_row_count: rows, total_chunk_count: count, truncated = false, chunks = [] } = manifest;
    const links = result.external_links ?? [];
    if (!inline && count === 0 && rows !== undefined && rows > 0) {
      throw unreadableAnswer(`the workspace says that it has ${countText(rows, "row")}, but no chunks`);
    }
    return {
      id,
      columns: manifest.schema?.columns ?? [],
      rows,
      truncated,
      inline: inline ? await this.#inlineRows(id, result, truncated ? undefined : rows, signal) : [],
      source: {
        count: count ?? Math.max(chunks.length, links.length),
        rows,
        chunks,
        links,
        requestLinks: async (index, stop) => (await this.#fetchPart(id, index, stop)).external_links ?? [],
        signal,
      },
      elapsed,
    };
  }

  /** Reads all rows of an inline result, which may come in several answers. @param count The number of rows, if it is known. */
  async #inlineRows(
    id: string,
    first: ResultPart,
    count: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<JsonRow[]> {
    const rows = first.data_array ?? [];
    const read = new Set<number>([0]);
    for (let next = first.next_chunk_index; next !== undefined && !read.has(next);) {
      read.add(next);
      const part = await this.#fetchPart(id, next, signal);
      for (const row of part.data_array ?? []) rows.push(row);
      next = part.next_chunk_index;
    }
    if (count === undefined || rows.length === count) return rows;
    throw unreadableAnswer(`${countText(rows.length, "row")} came, and the workspace says that it has ${count}`);
  }

  async #fetchPart(id: string, index: number, signal: AbortSignal | undefined): Promise<ResultPart> {
    const path = `${STATEMENTS}/${encodeURIComponent(id)}/result/chunks/${index}`;
    const request = { method: "GET" as const, path, about: "the result of the statement", longest: MAX_ANSWER_BYTES };
    const { body } = await this.#parts.workspace.request(request, signal).catch((error) => {
      const isExpired = error instanceof LakebaseError && error.code === "ENDPOINT_NOT_FOUND";
      throw isExpired ? expiredError(error) : error;
    });
    return readPart(body);
  }

  /** Cancels a statement as soon as its id is known, and waits a moment for the answer. */
  async #cancel(submitting: Promise<StatementAnswer>): Promise<void> {
    const cancel = async () => {
      const { statement_id: id, status } = await submitting;
      if (id === undefined || /^(SUCCEEDED|FAILED|CANCELED|CLOSED)$/.test(status?.state ?? "")) return;
      const path = `${STATEMENTS}/${encodeURIComponent(id)}/cancel`;
      await this.#parts.workspace.request({ method: "POST", path, body: {}, about: "the statement" });
    };
    // A failure is ignored, because the caller gets the reason of the signal.
    const done = cancel().catch(() => {}).finally(() => canceling.delete(done));
    canceling.add(done);
    const limit = new AbortController();
    await Promise.race([done, pause(CANCEL_WAIT_MS, limit.signal).catch(() => {})]);
    limit.abort();
  }

  /** Announces once that the warehouse starts, if a statement waits for the start. */
  async #noticeStart(signal: AbortSignal | undefined): Promise<void> {
    if (this.#wasAnnounced) return;
    const path = `${WAREHOUSES}/${encodeURIComponent(this.info.id)}`;
    const { body } = await this.#parts.workspace.request({ method: "GET", path, about: this.#about }, signal).catch(
      () => {
        signal?.throwIfAborted();
        return { body: {} as Record<string, unknown> };
      },
    );
    if (body["state"] === "STARTING" || body["state"] === "STOPPED") this.#announce("which the statement waits for");
  }

  #announce(reason: string): void {
    this.#wasAnnounced = true;
    this.#endNotice = announceStart(this.info.name, reason);
  }
}
