import { LakebaseError } from "../errors.ts";
import { look } from "./look.ts";
import type { FindSession } from "../query/run.ts";
import { suggest } from "../query/suggest.ts";
import type { TableKind } from "./tables.ts";

/** The `pg_class` row `c` that the first of the names in `$1` leads to. */
export const NAMED = `(SELECT c.* FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS wanted(name, place)
  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(wanted.name)
  ORDER BY place LIMIT 1) AS c`;

/** What was found under a name. */
export interface Relation {
  /** What it is; more than tables have names. */
  kind: TableKind | "sequence" | "composite type" | "index";
}

/**
 * Makes sure that a name led to something with rows.
 *
 * @throws {LakebaseError} `QUERY_FAILED`, with the SQLSTATE that the server has for it and what was probably meant.
 */
export async function expectTable<R extends Relation>(
  find: FindSession,
  action: string,
  name: string,
  relation: R | undefined,
): Promise<R> {
  const cannot = `Cannot ${action} ${name}`;
  if (relation === undefined) {
    const missing = { code: "42P01", message: `relation "${name}" does not exist` };
    // Where it was missed: nothing has failed there, and PGlite keeps all others waiting while a transaction is open.
    const lookUp = (text: string, values: readonly unknown[]) => look<Record<string, unknown>>(find, text, values, {});
    const meant = await suggest({ lookUp }, missing, "").catch(() => undefined); // a guess is not worth an error of its own
    const hint = meant === undefined ? "" : `\nDid you mean ${meant}?`;
    throw new LakebaseError("QUERY_FAILED", `${cannot}: there is no such table${hint}`, { sqlstate: "42P01" });
  }
  if (["sequence", "composite type", "index"].includes(relation.kind)) {
    throw new LakebaseError("QUERY_FAILED", `${cannot}: it is no table (kind: ${relation.kind})`, {
      sqlstate: "42809",
    });
  }
  return relation;
}
