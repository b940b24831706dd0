import { LakebaseError } from "../errors.ts";

/** What commands are answered from; a transaction has none of it. */
export interface CommandTarget {
  tables?: (pattern?: string) => PromiseLike<unknown>;
  schemas?: () => PromiseLike<unknown>;
  describe?: (table: string) => PromiseLike<unknown>;
}

/**
 * Answers what psql's users have in their fingers.
 *
 * @param target Where.
 * @param command `d`, `dt`, `dn` or `conninfo`.
 * @param argument A table's name, or a pattern.
 * @returns What draws itself.
 */
export async function lookUpCommand(target: CommandTarget, command: string, argument: string): Promise<unknown> {
  const { tables, schemas, describe } = target;
  if (tables === undefined || schemas === undefined || describe === undefined) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run \\${command}: it needs a connection, and this is a transaction`,
    );
  }
  if (command === "conninfo") return target;
  if (command === "dn") return await schemas.call(target);
  const isPattern = /[*?]/.test(argument.replace(/"[^"]*"/g, ""));
  if (command === "d" && argument !== "" && !isPattern) return await describe.call(target, argument);
  return await tables.call(target, argument === "" ? undefined : argument);
}
