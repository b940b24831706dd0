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
  /** Which of the values that were appended, from 0. */
  readonly at: number;

  /** Made with the place, and what is wrong there. */
  constructor(at: number, problem: string) {
    super(problem);
    this.at = at;
  }
}

/** The length of a value in front of which it stands. */
export function lengthAt(view: DataView, at: number): number {
  return view.getInt32(at - 4);
}
