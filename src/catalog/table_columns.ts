import { Exchange, type Wire } from "../sql/exchange.ts";
import type { WireField } from "../sql/result.ts";
import { parserSource } from "../sql/types.ts";

/** The value of {@linkcode TABLE_COLUMNS}. */
export type TableColumns = [name: string, oid: number, modifier: number][] | null;

/**
 * SQL for the columns of a `pg_class` row `c`, for {@linkcode describedColumns}. NULL if a column's type is a domain, since
 * a query's description has the base type instead.
 */
export const TABLE_COLUMNS = `(SELECT CASE WHEN pg_catalog.bool_or(t.typtype OPERATOR(pg_catalog.=) 'd') THEN NULL ELSE
    pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum) END
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)`;

/** Gives the columns as a query's description would; `undefined` if they are not known. */
export function describedColumns(columns: TableColumns): DescribedField[] | undefined {
  return columns?.map(([name, dataTypeID, dataTypeModifier]) => ({ name, dataTypeID, dataTypeModifier }));
}

/** A column as the server describes it. */
export interface DescribedField extends WireField {
  /** The type modifier, which encodes the `(10, 2)` of `numeric(10, 2)`; -1 if the type has none. */
  dataTypeModifier: number;
}

const TYPES = parserSource();

/** Asks the server for a statement's parameters and columns, without running it. */
export class Description extends Exchange {
  /** The oids of the parameters' types. */
  parameters: number[] = [];
  readonly #text: string;
  readonly #onParameters = ({ dataTypeIDs }: { dataTypeIDs: number[] }) => this.parameters = dataTypeIDs;

  /** Takes the statement's text; `pg` submits the description. */
  constructor(text: string) {
    super({ types: TYPES });
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
