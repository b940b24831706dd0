import { basename } from "node:path";
import { LakebaseError } from "../errors.ts";
import { PullFolder } from "./pull_folder.ts";
import { bad, MOST_PARALLEL, type PullOptions } from "./pull_options.ts";
import { openTarget, type Plan, type Sink } from "./target.ts";

/** Stands for the file's number in the name of several. */
const NUMBER = "{n}";

/** The targets of a pull: one, or one for each connection. */
export interface Sinks {
  /** They all; none for a folder. */
  readonly all: readonly Sink[];
  /** The folder, where that is the target. */
  readonly folder?: PullFolder;
  /** What a result calls them. */
  readonly name: string;
  /** Whether the name was that of several. */
  readonly several: boolean;
  /** What becomes of them after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** The paths of those that are files. */
  readonly paths: readonly string[];
  /** All has been written to all of them: makes sure that it is kept. */
  flush(): Promise<void>;
  /** They take their places, once they were flushed; `signal` as for a {@linkcode Sink}. */
  commit(signal: AbortSignal | undefined): Promise<void>;
  /** It failed: what was written is removed. */
  abort(reason: unknown, signal: AbortSignal | undefined): Promise<void>;
}

/**
 * Opens what a pull writes to.
 *
 * @throws {LakebaseError} `BAD_FILE` where one of them can't be written, `BAD_PARAMETER`.
 */
export async function openSinks(
  { target, format, gzip, folder }: Plan,
  { parallel, partitionBy = [], replace = false }: PullOptions,
  signal: AbortSignal | undefined,
): Promise<Sinks> {
  if (folder) {
    return inFolder(await PullFolder.open(target as string, { format, gzip, partitionBy, replace }), parallel);
  }
  if (typeof target !== "string" || !target.includes(NUMBER)) return together([await openTarget(target, signal)]);
  if (parallel === undefined) throw bad(`${target} stands for several files; say how many with { parallel: 2 }`);
  await refuseLeftovers(target, parallel);
  const sinks: Sink[] = [];
  try {
    for (let n = 1; n <= parallel; n++) sinks.push(await openTarget(numbered(target, n), signal));
  } catch (error) {
    await together(sinks, target).abort(error, signal);
    throw error;
  }
  return together(sinks, target);
}

function inFolder(folder: PullFolder, parallel = 1): Sinks {
  return {
    all: [],
    folder,
    name: folder.name,
    several: parallel > 1,
    outcome: folder.outcome,
    paths: folder.paths,
    flush: () => Promise.resolve(), // each file was
    commit: () => folder.commit(),
    abort: () => folder.abort(),
  };
}

function numbered(pattern: string, n: number): string {
  return pattern.replaceAll(NUMBER, String(n));
}

/** Whoever reads `trips-*.parquet` would read the files of an earlier pull, with more connections, among those of this one. */
async function refuseLeftovers(pattern: string, parallel: number): Promise<void> {
  for (let n = parallel + 1; n <= MOST_PARALLEL; n++) {
    const left = numbered(pattern, n);
    const found = await Deno.lstat(left).then(() => true, () => false);
    if (!found) continue;
    const files = parallel === 1 ? "1 file" : `${parallel} files`;
    throw new LakebaseError(
      "BAD_FILE",
      `Cannot write ${pattern}: it is to be ${files}, and ${left} is there too, which who reads all of them would take for ` +
        "one; delete it, or choose another name",
    );
  }
}

function together(all: readonly Sink[], pattern?: string): Sinks {
  let placed = 0;
  return {
    all,
    several: pattern !== undefined,
    get outcome() {
      if (pattern === undefined) return all[0]!.outcome;
      if (placed === 0) return "they were removed, and no file was replaced";
      return `${placed} of ${all.length} files are in their places, whole, and the others were removed`;
    },
    name: pattern === undefined ? all[0]!.name : basename(pattern),
    paths: all.flatMap(({ path }) => path ?? []),
    flush: async () => {
      for (const sink of all) await sink.flush?.(); // none takes its place before all of them are whole
    },
    commit: async (signal) => {
      for (const sink of all) {
        await sink.commit(signal);
        placed++;
      }
    },
    abort: async (reason, signal) => {
      await Promise.all(all.map((sink) => sink.abort(reason, signal)));
    },
  };
}
