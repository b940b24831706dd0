import v8 from "node:v8";
import vm from "node:vm";
import { nextTurn } from "./eventually.ts";

let collect: (() => void) | undefined;

/** The number of objects that are still referenced after garbage collection. */
export async function stillHeld(objects: readonly WeakRef<object>[]): Promise<number> {
  if (collect === undefined) {
    v8.setFlagsFromString("--expose-gc");
    collect = vm.runInNewContext("gc") as () => void;
  }
  await nextTurn(); // an object that a task made or read lives as long as the task
  collect();
  return objects.filter((object) => object.deref() !== undefined).length;
}
