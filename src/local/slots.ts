/** The memory that the database's host and worker share, an Int32 each. A worker that is blocked hears of nothing else. */

/** Bytes of output on their way to the host. */
export const OUTSTANDING = 0;
/** Inputs that the host has sent through the inbox. */
export const SENT = 1;
/** 1 where the host wants the running query cancelled. */
export const CANCEL = 2;
/** 1 where the database is to end, whatever it does. */
export const STOP = 3;
/** How many there are. */
export const SLOTS = 4;
