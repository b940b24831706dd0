import { InvalidArgumentError } from "npm:commander@^15.1.0";
import { closest } from "../closest.ts";
import { Fragment, type Statement, textStatement } from "../query/fragment.ts";
import { badParameter } from "../query/parameter.ts";
import type { ScriptStatement } from "./script.ts";

/** Values by the names of the parameters that they are for. */
export type Parameters = ReadonlyMap<string, string>;

/**
 * Checks that a script's parameters have values, and that each value has a parameter.
 *
 * @throws {LakebaseError} `BAD_PARAMETER`
 */
export function checkParameters(statements: readonly ScriptStatement[], given: Parameters): void {
  const wanted = new Set(statements.flatMap(({ names }) => names));
  for (const name of wanted) {
    if (!given.has(name)) throw badParameter(`$${name} has no value; say -p ${name}=VALUE${meant(name, given.keys())}`);
  }
  for (const name of given.keys()) {
    if (wanted.has(name)) continue;
    throw badParameter(
      `there is no $${name} in it for -p ${name}=...${meant(name, wanted)} (between double quotes a shell replaces ` +
        `$${name} itself: put the SQL between single quotes)`,
    );
  }
}

function meant(name: string, candidates: Iterable<string>): string {
  const near = closest(name, candidates);
  return near === undefined ? "" : `; did you mean $${near}?`;
}

/** A statement with its values, each bound once however often it is used. */
export function bindParameters({ strings, names }: ScriptStatement, given: Parameters): Statement {
  const used = [...new Set(names)];
  const text = strings.map((string, index) =>
    index === 0 ? string : `$${used.indexOf(names[index - 1]!) + 1}${string}`
  );
  return textStatement(text.join(""), used.map((name) => given.get(name)));
}

/** The same as a fragment, for what takes one. */
export function toFragment({ strings, names }: ScriptStatement, given: Parameters): Fragment {
  return new Fragment(strings, names.map((name) => given.get(name)));
}

/** Adds `name=value` to the parameters that were given. */
export function addParameter(text: string, given: Parameters = new Map()): Parameters {
  const [, name, value] = /^\$?(\w+)=([\s\S]*)$/u.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("It must be name=value.");
  if (given.has(name)) throw new InvalidArgumentError(`${name} has a value already.`);
  return new Map([...given, [name, value!]]);
}
