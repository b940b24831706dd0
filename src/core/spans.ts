// The oldest version that is tested. An older API can use what a newer one in the program has registered; a newer API
// can't use what an older one has.
import { type Attributes, context, SpanKind, SpanStatusCode, trace } from "npm:@opentelemetry/api@1.9.0";
import config from "../../deno.json" with { type: "json" };
import { sqlTokens } from "./sql_text.ts";
import type { OpenSpan, Operation, TracedServer } from "./trace.ts";

/** The longest name or summary of a span. The semantic conventions have this limit for summaries. */
const MAX_NAME_LENGTH = 255;
/** The name of a table, with or without its schema and catalog. Anything else could be SQL that was passed as a name. */
const NAME = /^(?:(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)(?:\.(?!$)|$)){1,3}$/u;

/**
 * Begins a span with the names of the stable semantic conventions for databases. No attribute contains a value, an
 * error's message, or a statement's text, because a text may have values in it.
 */
export function startSpan({ name, table: tableName, text, server }: Operation): OpenSpan {
  const isName = tableName !== undefined && tableName.length <= MAX_NAME_LENGTH && NAME.test(tableName);
  const table = isName ? tableName : undefined;
  const summary = text === undefined ? undefined : sqlSummary(text);
  const target = table ?? server.namespace;
  const title = name === undefined ? summary ?? target ?? server.system : [name, target].filter(Boolean).join(" ");
  const attributes = defined({
    "db.operation.name": name,
    "db.collection.name": table,
    "db.query.summary": summary,
    ...serverAttributes(server),
  });
  const tracer = trace.getTracer(config.name, config.version);
  const span = tracer.startSpan(title, { kind: SpanKind.CLIENT, attributes });
  const spanContext = trace.setSpan(context.active(), span);
  return {
    run: (work) => context.with(spanContext, work),
    setServer: (server) => void span.setAttributes(serverAttributes(server)),
    setCommandTag: (tag) => {
      const operation = /^[A-Z]+(?: [A-Z]+)*/.exec(tag)?.[0];
      if (operation !== undefined && name === undefined) span.setAttribute("db.operation.name", operation);
    },
    end: (failure) => {
      if (failure !== undefined) {
        span.setStatus({ code: SpanStatusCode.ERROR }); // no message, because the server's message may contain values
        span.setAttributes(failureAttributes(failure.error));
      }
      span.end();
    },
  };
}

function serverAttributes({ system, namespace, address, port }: TracedServer): Attributes {
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

/** The most characters of a statement that are read. */
const MAX_READ = 100_000;

/** The commands that a summary names. The first word of anything else could be a value that was typed in the wrong place. */
const COMMANDS = setOf(
  "abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete describe " +
    "discard do drop end execute explain fetch grant import insert listen load lock merge move notify optimize prepare " +
    "reassign refresh reindex release reset revoke rollback savepoint security select set show start truncate unlisten " +
    "update use vacuum values with",
);
/** The commands that may contain another statement. */
const CONTAINERS = setOf("copy create declare delete explain insert merge prepare select update values with");
/** The commands that are followed by the name of a table. */
const BEFORE_TABLE = setOf("analyze cluster copy lock truncate vacuum");
/** The commands whose second word is a kind of object. */
const OBJECT_COMMANDS = setOf("alter create drop");
/** The kinds whose names are part of the summary. */
const NAMED_KINDS = setOf("table view index sequence schema");
const OTHER_KINDS = setOf(
  "aggregate cast catalog collation connection conversion credential database domain extension function group language " +
    "location operator owned policy procedure publication role routine rule server share statistics subscription tablespace " +
    "text transform trigger type user volume",
);
/** The words between a command and the name of its table. */
const BEFORE_NAME = setOf("only lateral if not exists on table concurrently verbose");
/** The words that end a list of tables. */
const AFTER_TABLES = setOf(
  "where on group order limit offset having window union except intersect set returning values for fetch when",
);
/** After one of these, UPDATE begins no statement: `FOR NO KEY UPDATE`, `DO UPDATE`, `ON UPDATE`, `THEN UPDATE`. */
const BEFORE_OTHER_UPDATE = setOf("for key do on then");

/** A token of a statement: a word, a name with all its parts, or a symbol. */
interface SummaryToken {
  /** The word in lower case; empty for a quoted name, a name with dots, and a symbol. */
  word: string;
  /** The text as it is written; empty for a value. */
  text: string;
}

/** The state of the reading inside one pair of parentheses, or outside of all of them. */
interface Level {
  /** Whether a statement begins in these parentheses. A function has its own FROM, as in `extract(year FROM at)`. */
  statement: boolean;
  /** What the next name belongs to: a table; a source, which is a table or a function; or neither. */
  awaits: "table" | "source" | undefined;
  /** Whether another table follows a comma. */
  list: boolean;
}

/**
 * Summarizes SQL for a trace by its operations and tables in their order, such as `INSERT totals SELECT trips`. The
 * summary has no value and no other word of the text.
 *
 * @returns `undefined` for a text that begins with no command.
 */
export function sqlSummary(text: string): string | undefined {
  const parts: string[] = [];
  for (const statement of statements(summaryTokens(text.slice(0, MAX_READ)))) {
    if (!COMMANDS.has(statement[0]!.word)) break;
    parts.push(...summaryParts(statement));
  }
  let length = -1;
  const kept = parts.filter((part) => (length += part.length + 1) <= MAX_NAME_LENGTH);
  return kept.length === 0 ? undefined : kept.join(" ");
}

function setOf(words: string): ReadonlySet<string> {
  return new Set(words.split(" "));
}

/** The tokens of a text. A name with dots is one token. */
function summaryTokens(text: string): SummaryToken[] {
  const tokens: SummaryToken[] = [];
  let dotted = false;
  for (const { kind, start, end, closed } of sqlTokens(text)) {
    if (kind === "space" || kind === "comment") continue;
    const written = text.slice(start, end);
    const last = tokens.at(-1);
    if (written === ".") {
      dotted = last !== undefined;
      continue;
    }
    const named = kind === "word" || kind === "name" && closed;
    if (dotted && named) tokens[tokens.length - 1] = { word: "", text: `${last!.text}.${written}` };
    else if (named) tokens.push({ word: kind === "word" ? written.toLowerCase() : "", text: written });
    else tokens.push({ word: "", text: kind === "symbol" ? written : "" }); // a value has no text here
    dotted = false;
  }
  return tokens;
}

/** Splits tokens at semicolons. Parentheses before a statement are left out. */
function* statements(tokens: readonly SummaryToken[]): Generator<SummaryToken[], void, void> {
  let statement: SummaryToken[] = [];
  for (const token of [...tokens, { word: "", text: ";" }]) {
    if (token.text !== ";") {
      if (statement.length > 0 || token.text !== "(") statement.push(token);
      continue;
    }
    if (statement.length > 0) yield statement;
    statement = [];
  }
}

/** The parts of the summary of one statement. */
function summaryParts(tokens: readonly SummaryToken[]): string[] {
  const first = tokens[0]!.word;
  if (OBJECT_COMMANDS.has(first)) {
    const at = tokens.findIndex(({ word }) => NAMED_KINDS.has(word) || OTHER_KINDS.has(word));
    const kind = at > 0 && at < 6 ? tokens[at]!.word : "";
    const command = `${first} ${kind}`.trim().toUpperCase();
    if (!NAMED_KINDS.has(kind)) return [command];
    return [command, ...operationsAndTables(tokens, at + 1, { statement: false, awaits: "table", list: false })];
  }
  if (BEFORE_TABLE.has(first)) {
    return [first.toUpperCase(), ...operationsAndTables(tokens, 1, { statement: false, awaits: "table", list: false })];
  }
  if (CONTAINERS.has(first)) return operationsAndTables(tokens, 0, newLevel());
  return [first.toUpperCase()];
}

/** Finds the operations and tables from a token on. */
function operationsAndTables(tokens: readonly SummaryToken[], from: number, outermost: Level): string[] {
  const parts: string[] = [];
  const levels = [outermost];
  for (let at = from; at < tokens.length; at++) {
    const { word, text } = tokens[at]!;
    const level = levels.at(-1)!;
    const next = tokens[at + 1];
    if (text === "(") {
      levels.push(level.awaits === "source" ? { statement: true, awaits: "source", list: true } : newLevel());
      level.awaits = undefined;
    } else if (text === ")") {
      if (levels.length > 1) levels.pop();
    } else if (text === ",") {
      level.awaits = level.list ? "source" : undefined;
    } else if (isOperation(word, at === 0 ? "" : tokens[at - 1]!.word, next)) {
      if (word !== "with" && word !== "values") parts.push(word.toUpperCase());
      Object.assign(level, { statement: true, awaits: word === "update" ? "table" : undefined, list: false });
    } else if (level.awaits !== undefined && text !== "" && !BEFORE_NAME.has(word)) {
      if (/^["\p{L}_]/u.test(text) && (level.awaits === "table" || next?.text !== "(")) parts.push(text);
      level.awaits = undefined;
    } else if (level.statement) {
      expectTables(level, word, tokens[at - 1]!.word, next?.text);
    }
  }
  return parts;
}

function isOperation(word: string, previous: string, next: SummaryToken | undefined): boolean {
  if (word === "select" || word === "explain") return true;
  if (word === "insert" || word === "merge") return next?.word === "into";
  if (word === "delete") return next?.word === "from";
  if (word === "update") return !BEFORE_OTHER_UPDATE.has(previous) && next?.word !== "set";
  return previous === "" && /^(?:with|values|prepare|declare)$/.test(word); // not `WITH ORDINALITY`
}

function expectTables(level: Level, word: string, previous: string, next: string | undefined): void {
  if (word === "from" && previous !== "distinct") Object.assign(level, { awaits: "source", list: true });
  else if (word === "join" || word === "using" && next !== "(") level.awaits = "source"; // not `USING (id)`
  else if (word === "into") level.awaits = "table";
  else if (AFTER_TABLES.has(word)) level.list = false;
}

function newLevel(): Level {
  return { statement: false, awaits: undefined, list: false };
}
