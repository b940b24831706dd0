/** A user of this machine, as options of `Deno.Command`. */
export interface Account {
  uid?: number;
  gid?: number;
}

/** The account for a server that refuses to run as root; empty if this process is not root. */
export function unprivilegedAccount(): Account {
  if (Deno.uid() !== 0) return {};
  const accounts = Deno.readTextFileSync("/etc/passwd").split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((fields) => fields[0] === name);
    if (account) return { uid: Number(account[2]), gid: Number(account[3]) };
  }
  throw new Error("running as root, and there is no account postgres or nobody to run the server as");
}
