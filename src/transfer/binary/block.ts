/** Where values lie in some bytes. */
export interface Block {
  /** The bytes. */
  bytes: Uint8Array;
  /** The same, to read numbers from. */
  view: DataView;
  /** Where each value begins, right behind its length; -1 for NULL. */
  index: Int32Array;
}

/** A value that can't be kept; only its place within the block is known where it is found. */
export class CellProblem extends Error {
  /** Which of the values that were appended, or of a batch, from 0; -1 where that is not known. */
  readonly at: number;

  /** Made with the place, and what is wrong there. */
  constructor(at: number, problem: string) {
    super(problem);
    this.at = at;
  }
}

/**
 * Does some work; a problem in it is given the place of what it is a part of.
 *
 * @param placeOf The place, from the one of the part; -1 where it is not known.
 */
export function problemAt<T>(work: () => T, placeOf: (at: number) => number): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof CellProblem ? new CellProblem(placeOf(error.at), error.message) : error;
  }
}

/** The length of a value in front of which it stands. */
export function lengthAt(view: DataView, at: number): number {
  return view.getInt32(at - 4);
}
