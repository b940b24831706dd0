import { parserSource } from "../query/types.ts";
import type { WireField } from "../query/fields.ts";
import { Exchange, type Wire } from "../query/wire.ts";

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
