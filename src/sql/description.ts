import { isBuiltIn } from "../core/type_names.ts";
import { Exchange, type Wire } from "./exchange.ts";
import type { Statement } from "./fragment.ts";
import type { LookUp } from "./learned_types.ts";
import type { WireValue } from "./parameter.ts";
import type { WireField } from "./result.ts";
import { DEFAULT_TYPES } from "./types.ts";

/** A column as the server describes it. */
export interface DescribedField extends WireField {
  /** The type modifier, which encodes the `(10, 2)` of `numeric(10, 2)`; -1 if the type has none. */
  dataTypeModifier: number;
}

/** Asks the server for a statement's parameters and columns, without running it. */
export class Description extends Exchange {
  /** The oids of the parameters' types. */
  parameters: number[] = [];
  readonly #text: string;
  readonly #onParameters = ({ dataTypeIDs }: { dataTypeIDs: number[] }) => this.parameters = dataTypeIDs;

  /** Takes the statement's text; `pg` submits the description. */
  constructor(text: string) {
    super({ types: DEFAULT_TYPES });
    this.#text = text;
  }

  /** The columns of the statement's rows. */
  get columns(): DescribedField[] {
    return this.wireFields as DescribedField[];
  }

  protected override send(wire: Wire): void {
    wire.once("parameterDescription", this.#onParameters);
    wire.stream.cork?.();
    wire.parse({ text: this.#text });
    wire.describe({ type: "S", name: "" });
    wire.sync();
    wire.stream.uncork?.();
  }

  protected override finish(): void {
    this.wire.removeListener("parameterDescription", this.#onParameters);
    super.finish();
  }
}

const JSON_OIDS = [114, 3802];

/** Selects the types among `$1` that are `json` or `jsonb` below their domains. */
const OVER_JSON = `WITH RECURSIVE base(given, oid) AS (
    SELECT t.oid, t.oid FROM pg_catalog.pg_type AS t WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
  UNION ALL
    SELECT b.given, t.typbasetype FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.oid
      AND t.typtype OPERATOR(pg_catalog.=) 'd'
  )
  SELECT given::pg_catalog.int8 AS oid FROM base WHERE oid OPERATOR(pg_catalog.=) ANY ('{114,3802}'::pg_catalog.oid[])`;

/**
 * Gives the values of a statement, with each empty array as `{}`. Where JSON is wanted the value stays as it is, so
 * that the server refuses it, because `{}` would be an empty object.
 *
 * @param parameters The oids of the parameters' types.
 */
export async function settleEmptyArrays(
  { values, emptyArrays = [] }: Statement,
  parameters: readonly number[],
  lookUp: LookUp,
): Promise<WireValue[]> {
  const own = emptyArrays.map((index) => parameters[index]!).filter((oid) => !isBuiltIn(oid));
  const found = own.length === 0 ? [] : await lookUp(OVER_JSON, [`{${[...new Set(own)].join(",")}}`]);
  const json = new Set([...JSON_OIDS, ...found.map(({ oid }) => Number(oid))]);
  return values.map((value, index) => emptyArrays.includes(index) && !json.has(parameters[index]!) ? "{}" : value);
}
