import { LakebaseError } from "../core/errors.ts";
import { loadModule } from "../core/lazy_import.ts";
import { isTraced, traced } from "../core/trace.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { originText, renderTable } from "../draw/table.ts";
import { type CatalogColumn, listColumns } from "../lake/catalog.ts";
import { arrowChunks } from "../lake/links.ts";
import { compileForWarehouse, readsOnly, returnsRows } from "../lake/statement.ts";
import { fieldsOfManifest, jsonRowReader, typeOf } from "../lake/types.ts";
import type { Warehouse, WarehouseResult } from "../lake/warehouse.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import { ArrowRows, type Fragment, isRunnable, PULL_STOPS } from "../sql/fragment.ts";
import { markUsed } from "../sql/never_run.ts";
import type { OpenVolumes } from "../sql/session.ts";
import { type Field, OUTCOME, type Outcome, StatementRows } from "../sql/result.ts";
import { type StopOptions, stoppable } from "../sql/stop.ts";
import type { Batch } from "../transfer/columns/batch.ts";
import type { Columns } from "../transfer/columns/columns.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import type { EngineRun, QueryEngine } from "./engine.ts";
import { Plan } from "./plan.ts";
import { Result } from "./result.ts";
import {
  columnsOf,
  emptyChunk,
  type OpenedResult,
  openResult,
  rowsOf,
  textsOf,
  typeForTable,
} from "./warehouse_result.ts";

/** Runs queries in a SQL warehouse. */
export function warehouseEngine(engine: WarehouseEngine): QueryEngine {
  return {
    inWarehouse: true,
    print: (query) => compileForWarehouse(query).text,
    onlyReads: (query) => readsOnly(compileForWarehouse(query).text),
    run: (query, options) => engine.run(query, options),
    exactRows: (query, stops) => engine.exactRows(query, stops),
    iterate: (query, stops) => engine.iterate(query, stops),
    explain: (query, analyze, stops) => engine.explain(query, analyze, stops),
    columns: (query, stops) => engine.columns(query, stops),
    pull: (query, target, options) => engine.pull(query, target, options),
    plot: (query, options, stops) => engine.plot(query, options, stops),
  };
}

/** Runs the statements of queries in a warehouse, and reads their results. */
export class WarehouseEngine {
  readonly #warehouse: Warehouse;
  readonly #volumes: OpenVolumes;

  /** Makes an engine for one lakehouse. @param volumes Opens the Volumes of its workspace. */
  constructor(warehouse: Warehouse, volumes: OpenVolumes) {
    this.#warehouse = warehouse;
    this.#volumes = volumes;
  }

  /** The name of the warehouse, for what is drawn. */
  get place(): string {
    return `SQL warehouse ${this.#warehouse.info.name}`;
  }

  /** Makes statements cancelable at once, at the cost of a second call for each. */
  cancelAtOnce(): void {
    this.#warehouse.waitSeconds = 0;
  }

  async run<Row>(query: Fragment, { limit, signal, timeout }: EngineRun): Promise<Result<Row>> {
    const statement = compileForWarehouse(query);
    using stop = stoppable({ signal, timeout });
    const inline = limit !== undefined || !returnsRows(statement.text);
    const started = performance.now();
    const result = await this.#warehouse.execute(statement, { inline, rowLimit: limit, signal: stop.signal });
    const rows = new Result<Row>();
    if (inline) {
      const fields = fieldsOfManifest(result.columns);
      const read = jsonRowReader(result.columns, fields);
      for (const row of result.inline) rows.push(read(row) as Row);
      rows[OUTCOME] = this.#outcome(statement.text, fields, rows.length, result, performance.now() - started);
    } else {
      const opened = await openResult(result);
      for await (const batch of opened.batches) for (const row of await rowsOf<Row>(batch, opened)) rows.push(row);
      rows[OUTCOME] = this.#outcome(statement.text, opened.fields, rows.length, result, performance.now() - started);
    }
    stop.succeeded();
    return rows;
  }

  async *iterate<Row>(query: Fragment, stops: StopOptions): AsyncGenerator<Row, void, void> {
    using stop = stoppable(stops);
    const opened = await this.#open(query, stop.signal);
    for await (const batch of opened.batches) {
      for (const row of await rowsOf<Row>(batch, opened)) {
        stop.signal?.throwIfAborted();
        yield row;
      }
    }
  }

  async exactRows(query: Fragment, stops: StopOptions): Promise<StatementRows | ArrowRows> {
    const statement = compileForWarehouse(query);
    const stop = stoppable(stops);
    try {
      const result = await this.#warehouse.execute(statement, { inline: false, signal: stop.signal });
      const types = result.columns.map(typeOf);
      if (types.length > 0) {
        const streams = result.source.count > 0 ? arrowChunks(result.source) : emptyChunk(result);
        return new ArrowRows(disposing(streams, stop), result.rows ?? 0, types.map(typeForTable));
      }
      const rows = new StatementRows();
      rows[OUTCOME] = this.#outcome(statement.text, fieldsOfManifest(result.columns), 0, result, result.elapsed);
      stop[Symbol.dispose]();
      return rows;
    } catch (error) {
      stop[Symbol.dispose]();
      throw error;
    }
  }

  async columns(query: Fragment, stops: StopOptions): Promise<Columns> {
    using stop = stoppable(stops);
    const started = performance.now();
    const { fields, columns, batches } = await this.#open(query, stop.signal);
    const { joinBatches } = await loadModule(() => import("../transfer/columns/batch.ts"));
    const parts: Batch[] = [];
    for await (const batch of batches) parts.push(batch);
    return await columnsOf(joinBatches(columns, parts), fields, performance.now() - started, { place: this.place });
  }

  async pull(query: Fragment, target: PullTarget, options: PullOptions): Promise<PullResult> {
    markUsed(query); // also if the pull ends before the statement is submitted
    const { pullBatches } = await loadModule(() => import("../transfer/pull/in_memory.ts"));
    const stops = isRunnable(query) ? query[PULL_STOPS]() as PullOptions : {};
    const open = async (signal: AbortSignal | undefined) => {
      const { fields, columns, batches, result: { rows } } = await this.#open(query, signal);
      return { columns: columns.map((column, at) => ({ ...column, name: fields[at]!.key })), batches, rows };
    };
    const all = { ...stops, ...options };
    const pulling = () => pullBatches("rows of a SQL warehouse", open, target, all, () => this.#volumes);
    if (!isTraced()) return await pulling();
    const { text } = compileForWarehouse(query);
    return await traced({ name: "pull", text, server: await this.#warehouse.server() }, pulling);
  }

  async explain(query: Fragment, analyze: boolean, stops: StopOptions): Promise<Plan> {
    if (analyze) {
      throw new LakebaseError(
        "BAD_PARAMETER",
        "Cannot explain: a SQL warehouse does not measure a plan; leave out analyze, and see the query's profile in the workspace",
      );
    }
    const { text, parameters } = compileForWarehouse(query);
    using stop = stoppable(stops);
    const result = await this.#warehouse.execute({ text: `EXPLAIN ${text}`, parameters }, {
      inline: true,
      signal: stop.signal,
    });
    return new WarehousePlan(result.inline.map(([line]) => line ?? "").join("\n").trimEnd(), this.place);
  }

  /** The rows as texts, as Postgres writes their values. */
  async texts(query: Fragment, stops: StopOptions): Promise<{
    fields: readonly Field[];
    /** The statement's command, such as `CREATE`. */
    command: string;
    rows: AsyncIterable<(string | null)[][]>;
  }> {
    const statement = compileForWarehouse(query);
    const stop = stoppable(stops);
    try {
      const result = await this.#warehouse.execute(statement, { inline: false, signal: stop.signal });
      const { fields, batches } = await openResult(result);
      const { tag: command } = this.#outcome(statement.text, fields, 0, result, 0);
      return { fields, command, rows: disposing(textsOf(batches, fields), stop) };
    } catch (error) {
      stop[Symbol.dispose]();
      throw error;
    }
  }

  async plot(query: Fragment, options: PlotOptions, stops: StopOptions): Promise<Plot> {
    const { plotInWarehouse } = await loadModule(() => import("../plot/plot.ts"));
    using stop = stoppable(stops);
    return await plotInWarehouse((question) => this.ask(question, { signal: stop.signal }), query, options, this.place);
  }

  /** Runs a statement of this module for its rows. */
  async ask(query: Fragment, stops: StopOptions): Promise<Result> {
    const statement = compileForWarehouse(query);
    using stop = stoppable(stops);
    const result = await this.#warehouse.execute(statement, { inline: true, signal: stop.signal });
    const fields = fieldsOfManifest(result.columns);
    const rows = new Result();
    for (const row of result.inline.map(jsonRowReader(result.columns, fields))) {
      rows.push(row as Record<string, unknown>);
    }
    rows[OUTCOME] = this.#outcome(statement.text, fields, rows.length, result, result.elapsed);
    return rows;
  }

  /** The columns of the catalog's tables, for completion. */
  async columnNames(most: number): Promise<
    { catalog: string | undefined; schema: string | undefined; columns: CatalogColumn[] }
  > {
    const { catalog, schema } = this.#warehouse;
    const columns = await listColumns((query) => this.ask(query, {}), catalog, most);
    return { catalog: catalog ?? columns[0]?.catalog, schema, columns };
  }

  async #open(query: Fragment, signal: AbortSignal | undefined): Promise<OpenedResult> {
    return await openResult(await this.#warehouse.execute(compileForWarehouse(query), { inline: false, signal }));
  }

  #outcome(text: string, fields: readonly Field[], count: number, result: WarehouseResult, elapsed: number): Outcome {
    const command = /^\W*(\w+)/.exec(text)?.[1]?.toUpperCase() ?? "";
    const counted = result.truncated || fields.length === 0 ? "" : ` ${count}`;
    return {
      fields,
      tag: `${command}${counted}`,
      more: result.truncated,
      elapsed,
      notices: [],
      describe: () => Promise.resolve(fields),
      place: this.place,
    };
  }
}

/** Yields items, and disposes of something at the end. */
async function* disposing<T>(items: AsyncIterable<T>, resource: Disposable): AsyncGenerator<T, void, void> {
  using _ = resource;
  yield* items;
}

/** The plan of a statement in a warehouse, which is a text. */
class WarehousePlan extends Plan {
  readonly #text: string;
  readonly #place: string;

  constructor(text: string, place: string) {
    super({ Plan: { "Node Type": text.split("\n", 1)[0] ?? "", text } }, { place });
    this.#text = text;
    this.#place = place;
  }

  override toString(): string {
    return this.#text;
  }

  override [DISPLAY](): Bundle {
    const rows = this.#text.split("\n").map((line) => [line]);
    const footer = `not run${originText({ place: this.#place })}`;
    return holdIdle({ ...renderTable({ columns: [{ name: "plan", type: "text" }], rows, footer }) });
  }
}
