import { lazyImport } from "./lazy_import.ts";

/**
 * The global under which `@opentelemetry/api` 1 keeps what the program, or Deno with `OTEL_DENO=true`, has registered. All
 * packages share this symbol, so reading it loads none of them.
 */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");

/** The server of an operation. */
export interface TracedServer {
  /** The kind of database. */
  system: "postgresql" | "databricks";
  /** The database; in a warehouse the catalog, or the catalog and the schema with `|` between them. */
  namespace?: string | undefined;
  /** The host. */
  address?: string | undefined;
  /** The port. */
  port?: number | undefined;
}

/** The attributes of an operation that are known when it begins. */
export interface Operation {
  /** The name of the call; `undefined` for a statement. */
  name?: "connect" | "pull" | "load";
  /** The table that the call names. */
  table?: string | undefined;
  /** The statement. Only its summary, a list of operations and tables, leaves this process. */
  text?: string | undefined;
  /** The server. */
  server: TracedServer;
}

/** The span of an operation that is under way. */
interface OperationSpan {
  /** Records the server once it is known. */
  setServer(server: TracedServer): void;
  /** Records the server's command tag, such as `INSERT 0 3`. */
  setCommandTag(tag: string): void;
}

/** A span that its owner ends; see {@linkcode beginSpan}. */
export interface OpenSpan extends OperationSpan {
  /** Runs work whose own spans are its children. */
  run<T>(work: () => T): T;
  /** Ends it. @param failure The error of the operation, if it failed. */
  end(failure?: { error: unknown }): void;
}

/** Whether anything collects spans. If not, this check is the only cost of tracing. */
export function isTraced(): boolean {
  return (globalThis as { [REGISTRY]?: { trace?: unknown } })[REGISTRY]?.trace !== undefined;
}

/** Does the work of an operation in a span. Call it only while {@linkcode isTraced}. */
export async function traced<T>(operation: Operation, work: (span: OperationSpan) => Promise<T>): Promise<T> {
  const span = await beginSpan(operation);
  try {
    const result = await span.run(() => work(span));
    span.end();
    return result;
  } catch (error) {
    span.end({ error });
    throw error;
  }
}

/** Begins the span of an operation. Call it only while {@linkcode isTraced}. */
export async function beginSpan(operation: Operation): Promise<OpenSpan> {
  return (await loadSpans())(operation);
}

let loading: Promise<(operation: Operation) => OpenSpan> | undefined;

function loadSpans(): Promise<(operation: Operation) => OpenSpan> {
  return loading ??= lazyImport<typeof import("./spans.ts")>(import.meta.resolve("./spans.ts")).then(
    ({ startSpan }) => startSpan,
    (error: Error) => {
      // deno-lint-ignore no-console -- a trace that can't be written must not fail the work that it is about
      console.error(`No spans for OpenTelemetry: @opentelemetry/api can't be loaded: ${error.message}`);
      return () => NO_SPAN;
    },
  );
}

const NO_SPAN: OpenSpan = { setServer() {}, setCommandTag() {}, run: (work) => work(), end() {} };
