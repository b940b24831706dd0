import { isTraced, traced } from "../../core/trace.ts";
import { compile, type Fragment, type Statement } from "../../sql/fragment.ts";
import { lookUpOn } from "../../sql/learned_types.ts";
import { fieldsOf } from "../../sql/result.ts";
import { type FindSession, onConnection } from "../../sql/run.ts";
import { originOf, type Session } from "../../sql/session.ts";
import { cancelable, type StopOptions, stoppable, until } from "../../sql/stop.ts";
import { copyOut } from "../copy/copy_out.ts";
import { copyStatement } from "../copy/copy_query.ts";
import { describeSource, expectUsualStyle } from "../copy/source.ts";
import { BatchDecoder } from "./binary/decoder.ts";
import { Columns } from "./columns.ts";

/**
 * Runs a query, and gives its rows column by column.
 *
 * @throws {LakebaseError} As `run`; and `QUERY_FAILED` for a value that a column can't hold.
 */
export async function readColumns(find: FindSession, query: Fragment, options: StopOptions): Promise<Columns> {
  using stop = stoppable(options);
  const session = await until(find(), stop.signal);
  const statement = compile(query);
  const reading = () => readIn(session, statement, stop.signal);
  const { server } = session;
  const { text } = statement;
  return await (isTraced() ? traced({ text, server }, reading) : reading());
}

async function readIn(session: Session, statement: Statement, stopped: AbortSignal | undefined): Promise<Columns> {
  const wanted = { statement, table: undefined, name: "the query" };
  return await onConnection(session, statement, stopped, async (lease, signal) => {
    const started = performance.now();
    const source = await describeSource(session, lease, wanted, signal);
    expectUsualStyle(source, lease);
    const wireFields = source.columns.map(({ name, oid }) => ({ name, dataTypeID: oid }));
    const decoder = new BatchDecoder(source.columns);
    for await (const { bytes } of copyOut(session, lease, copyStatement(source, { format: "binary" }), signal)) {
      decoder.push(bytes);
    }
    decoder.end();
    const elapsed = performance.now() - started;
    await cancelable(session, lease, signal, session.learned.learnTypes(wireFields, lookUpOn(lease.client)));
    const fields = fieldsOf(wireFields, session.learned);
    return new Columns({ batch: decoder.take(), fields, elapsed, origin: originOf(session), find: () => session });
  });
}
