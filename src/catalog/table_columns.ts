import { Exchange, type Wire } from "../sql/exchange.ts";
import type { WireField } from "../sql/result.ts";
import { parserSource } from "../sql/types.ts";

/** {@linkcode TABLE_COLUMNS} as it comes. */
export type TableColumns = [name: string, oid: number, modifier: number][] | null;

/**
 * The columns of a `pg_class` row `c`, for {@linkcode describedColumns}; NULL where a type is a domain, of which a query's
 * description says the type below.
 */
export const TABLE_COLUMNS = `(SELECT CASE WHEN pg_catalog.bool_or(t.typtype OPERATOR(pg_catalog.=) 'd') THEN NULL ELSE
    pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum) END
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)`;

/** The columns as a query's description would have them; `undefined` where they are not known. */
export function describedColumns(columns: TableColumns): DescribedField[] | undefined {
  return columns?.map(([name, dataTypeID, dataTypeModifier]) => ({ name, dataTypeID, dataTypeModifier }));
}

/** A column as the server describes it. */
export interface DescribedField extends WireField {
  /** What is in the type's brackets, as `numeric(10, 2)` has it; -1 for nothing. */
  dataTypeModifier: number;
}

const TYPES = parserSource();

/** Asks the server what a statement takes and gives, without running it. */
export class Description extends Exchange {
  /** The types of its parameters. */
  parameters: number[] = [];
  readonly #text: string;
  readonly #onParameters = ({ dataTypeIDs }: { dataTypeIDs: number[] }) => this.parameters = dataTypeIDs;

  /** Made of a statement; `pg` submits it. */
  constructor(text: string) {
    super({ types: TYPES });
    this.#text = text;
  }

  /** Its columns. */
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
