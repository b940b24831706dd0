// The oldest version that is tested: an older one than the program's can use what the program registered, a newer one can't.
import { type Attributes, context, SpanKind, SpanStatusCode, trace } from "npm:@opentelemetry/api@1.9.0";
import config from "../../deno.json" with { type: "json" };
import { sqlSummary } from "./sql_summary.ts";
import type { OpenSpan, Operation, TracedServer } from "./trace.ts";

/** The longest name that is told. */
const LONGEST = 255;
/** A table's name with its schema and catalog. Anything else could be SQL that was passed as a name. */
const NAME = /^(?:(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)(?:\.(?!$)|$)){1,3}$/u;

/**
 * Begins a span with the names of the stable semantic conventions for databases. No attribute has a value, an error's message,
 * or a statement's text, because a text may have values in it.
 */
export function startSpan({ name, table: called, text, server }: Operation): OpenSpan {
  const table = called !== undefined && called.length <= LONGEST && NAME.test(called) ? called : undefined;
  const summary = text === undefined ? undefined : sqlSummary(text);
  const target = table ?? server.namespace;
  const title = name === undefined ? summary ?? target ?? server.system : [name, target].filter(Boolean).join(" ");
  const attributes = defined({
    "db.operation.name": name,
    "db.collection.name": table,
    "db.query.summary": summary,
    ...attributesOf(server),
  });
  const tracer = trace.getTracer(config.name, config.version);
  const span = tracer.startSpan(title, { kind: SpanKind.CLIENT, attributes });
  const inside = trace.setSpan(context.active(), span);
  return {
    run: (work) => context.with(inside, work),
    reached: (server) => void span.setAttributes(attributesOf(server)),
    did: (tag) => {
      const operation = /^[A-Z]+(?: [A-Z]+)*/.exec(tag)?.[0];
      if (operation !== undefined && name === undefined) span.setAttribute("db.operation.name", operation);
    },
    end: (failure) => {
      if (failure !== undefined) {
        span.setStatus({ code: SpanStatusCode.ERROR }); // no message: the server's may have values
        span.setAttributes(failureAttributes(failure.error));
      }
      span.end();
    },
  };
}

function attributesOf({ system, namespace, address, port }: TracedServer): Attributes {
  return defined({
    "db.system.name": system,
    "db.namespace": namespace,
    "server.address": address,
    "server.port": address === undefined ? undefined : port,
  });
}

/** `error.type` is the SQLSTATE where there is one, or else the code of a `LakebaseError`, or else the error's class. */
function failureAttributes(error: unknown): Attributes {
  const { sqlstate, code, name } = (error ?? {}) as { sqlstate?: string; code?: unknown; name?: string };
  return defined({
    "db.response.status_code": sqlstate,
    "error.type": sqlstate ?? (typeof code === "string" ? code : undefined) ?? name ?? "_OTHER",
  });
}

function defined(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined && value !== ""));
}
