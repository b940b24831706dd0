/** A user of this machine, as `Deno.Command` takes one. */
export interface Account {
  uid?: number;
  gid?: number;
}

/** The account to run a server as that refuses to run as root; empty where this process isn't root. */
export function unprivilegedAccount(): Account {
  if (Deno.uid() !== 0) return {};
  const accounts = Deno.readTextFileSync("/etc/passwd").split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((fields) => fields[0] === name);
    if (account) return { uid: Number(account[2]), gid: Number(account[3]) };
  }
  throw new Error("running as root, and there is no account postgres or nobody to run the server as");
}
