import { type DataType, Field, List, Map_, Struct } from "npm:apache-arrow@21.2.0";
import type { SchemaElement, SchemaTree } from "npm:hyparquet@1.33.0";
import { EXTENSION_NAME } from "../../../columns/batch.ts";
import { UnsupportedFeature } from "../../file_rows.ts";
import type { StoredColumn } from "./chunk_reader.ts";
import { type Conversion, conversionOf } from "./conversion.ts";

/** A part of the schema, and the levels by which it is found in its leaves. */
interface SchemaPart {
  /** The matching Arrow field. */
  field: Field;
  /** The lowest definition level at which the part is not NULL. */
  definition: number;
  /** The lowest definition level at which the list around the part has an element for it. */
  place: number;
  /** The number of lists around the part. */
  repetition: number;
  /** The position of the part's first leaf among all leaves. */
  leaf: number;
}

/** A node of the schema: a leaf, a list or a struct. */
export type Node =
  & SchemaPart
  & (
    | { kind: "leaf"; conversion: Conversion }
    | { kind: "list"; children: [Node] }
    | { kind: "struct"; children: Node[] }
  );

/** A schema as a tree, with the columns that the file stores. */
export interface ReadSchema {
  /** A node for each column. */
  nodes: Node[];
  /** The stored columns. */
  leaves: StoredColumn[];
}

/** The deepest nesting that is read. No sensible schema is deeper. */
const MAX_DEPTH = 64;

/** The levels of a node. */
type Place = Pick<SchemaPart, "definition" | "place" | "repetition">;

/**
 * Converts the schema of a file.
 *
 * @param durations The types of the columns that are durations in Arrow's schema, by their dotted paths.
 * @throws {Error} If the schema is invalid or has an unsupported type.
 */
export function readSchema({ children }: SchemaTree, durations: ReadonlyMap<string, DataType>): ReadSchema {
  const reader = new SchemaReader(durations);
  const nodes = children.map((child) => reader.node(child, { definition: 0, place: 0, repetition: 0 }));
  return { nodes, leaves: reader.leaves };
}

class SchemaReader {
  readonly leaves: StoredColumn[] = [];
  readonly #durations: ReadonlyMap<string, DataType>;

  constructor(durations: ReadonlyMap<string, DataType>) {
    this.#durations = durations;
  }

  node(tree: SchemaTree, around: Place): Node {
    if (tree.path.length > MAX_DEPTH) throw new Error("its schema is nested too deep");
    const { repetition_type } = tree.element;
    if (repetition_type !== "REPEATED") {
      return this.#present(tree, {
        ...around,
        definition: around.definition + (repetition_type === "OPTIONAL" ? 1 : 0),
      });
    }
    // A repeated element without a list annotation is a list that is never NULL.
    return this.#list(tree, around, () => this.#present(tree, insideList(around)));
  }

  /** Converts an element whose repetition is already counted in the levels. */
  #present(tree: SchemaTree, at: Place): Node {
    const { element, children } = tree;
    if (children.length === 0) return this.#leaf(tree, at);
    const [child] = children;
    if (children.length === 1 && child!.element.repetition_type === "REPEATED" && isListOrMap(element)) {
      return child!.children.length === 2 && isMap(element)
        ? this.#map(tree, at, child!)
        : this.#list(tree, at, () => this.#element(element.name, child!, insideList(at)));
    }
    const leaf = this.leaves.length;
    const nodes = children.map((each) => this.node(each, at));
    return {
      ...at,
      kind: "struct",
      leaf,
      children: nodes,
      field: fieldOf(tree, new Struct(nodes.map(({ field }) => field))),
    };
  }

  /** Returns the element of a list: the repeated group itself, or its only child (LogicalTypes.md, "Lists"). */
  #element(list: string, repeated: SchemaTree, at: Place): Node {
    const { children, element: { name } } = repeated;
    const [only] = children;
    const isItself = children.length !== 1 || name === "array" || name === `${list}_tuple` ||
      only!.element.repetition_type === "REPEATED";
    return isItself ? this.#present(repeated, at) : this.node(only!, at);
  }

  #list(tree: SchemaTree, at: Place, element: () => Node): Node {
    const leaf = this.leaves.length;
    const node = element();
    return { ...at, kind: "list", leaf, children: [node], field: fieldOf(tree, new List(node.field)) };
  }

  #map(tree: SchemaTree, at: Place, entries: SchemaTree): Node {
    const leaf = this.leaves.length;
    const entry = this.#present(entries, insideList(at));
    return { ...at, kind: "list", leaf, children: [entry], field: fieldOf(tree, new Map_(entry.field as never)) };
  }

  #leaf(tree: SchemaTree, at: Place): Node {
    const { element, path } = tree;
    const name = path.join(".");
    if (element.type === undefined) {
      throw new UnsupportedFeature(
        `column ${JSON.stringify(path[0])} has a struct without fields (${name}), which Postgres can't represent`,
      );
    }
    const width = element.type_length ?? 0;
    if (element.type === "FIXED_LEN_BYTE_ARRAY" && width < 1) {
      throw new Error(`column ${JSON.stringify(name)} has no width`);
    }
    const conversion = conversionOf(element, name, this.#durations.get(name));
    const leaf = this.leaves.length;
    const { type } = element;
    this.leaves.push({ name, type, width, definition: at.definition, repetition: at.repetition });
    return { ...at, kind: "leaf", leaf, conversion, field: fieldOf(tree, conversion.type, conversion.extension) };
  }
}

function insideList({ definition, repetition }: Place): Place {
  return { definition: definition + 1, place: definition + 1, repetition: repetition + 1 };
}

function isMap({ converted_type, logical_type }: SchemaElement): boolean {
  return logical_type?.type === "MAP" || converted_type === "MAP" || converted_type === "MAP_KEY_VALUE";
}

function isListOrMap(element: SchemaElement): boolean {
  return isMap(element) || element.logical_type?.type === "LIST" || element.converted_type === "LIST";
}

function fieldOf({ element: { name } }: SchemaTree, type: DataType, extension?: string): Field {
  return new Field(name, type, true, extension === undefined ? undefined : new Map([[EXTENSION_NAME, extension]]));
}
