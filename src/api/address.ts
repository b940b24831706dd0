import { utcText } from "../core/text.ts";
import type { LakebaseParts } from "./open_connection.ts";

/** The address of a connection. It distinguishes the connection from others. */
interface ConnectionAddress {
  /** The endpoint or the instance; `undefined` if the workspace was not asked for one. */
  endpoint: { readonly name: string } | undefined;
  /** The server's host. */
  host: string;
  /** The port. */
  port: number;
  /** The database. */
  database: string;
  /** The role. */
  user: string;
  /** Whether every transaction is read only. */
  readOnly: boolean;
}

/** The whole address, to follow "Connected to": `project p, branch b, ...`. */
export function fullAddress({ endpoint, host, port, database, user, readOnly }: ConnectionAddress): string {
  const [, project, branch, name] =
    /^projects\/([^/]+)\/branches\/([^/]+)\/endpoints\/([^/]+)$/.exec(endpoint?.name ?? "") ??
      [];
  const server = project !== undefined
    ? `project ${project}, branch ${branch}, endpoint ${name}`
    : endpoint !== undefined
    ? `instance ${endpoint.name}`
    : `${host}:${port}`;
  return `${server}, database ${database}, as ${user}${readOnly ? ", read only" : ""}`;
}

/** The names that distinguish two connections: those of their branches, or else their addresses. */
export function addressesOfTwo(one: ConnectionAddress, other: ConnectionAddress): [one: string, other: string] {
  const [[, here], [, there]] = [branchPath(one), branchPath(other)];
  if (here !== undefined && there !== undefined && here !== there) return [`branch ${here}`, `branch ${there}`];
  return [shortAddress(one, [other]), shortAddress(other, [one])];
}

/** The project and the branch of an endpoint. */
function branchPath({ endpoint }: ConnectionAddress): [project?: string, branch?: string] {
  const [, project, branch] = /^projects\/([^/]+)\/branches\/([^/]+)/.exec(endpoint?.name ?? "") ?? [];
  return project === undefined || branch === undefined ? [] : [project, branch];
}

/** The shortest address that distinguishes a connection from the others: if only branches of one project are open, the branch. */
export function shortAddress(address: ConnectionAddress, others: readonly ConnectionAddress[]): string {
  const [project, branch] = branchPath(address);
  const onAnotherBranch = (other: ConnectionAddress) =>
    branchPath(other)[0] === project && branchPath(other)[1] !== branch;
  if (branch !== undefined && others.every(onAnotherBranch)) return `branch ${branch}`;
  const short = ({ database, host, port }: ConnectionAddress) => `${database} at ${host}:${port}`;
  const same = others.filter((other) => short(other) === short(address));
  const role = same.some(({ user }) => user !== address.user) ? ` as ${address.user}` : "";
  const reads = same.some(({ readOnly }) => readOnly !== address.readOnly) && address.readOnly ? ", read only" : "";
  return `${short(address)}${role}${reads}`;
}

/** The facts that the drawing of a connection shows, by name, without secrets. */
export function connectionFacts(parts: LakebaseParts, closed: boolean): [name: string, value: string][] {
  const { host, port, database, user, endpoint, readOnly, pool } = parts;
  return [
    ...(parts.facts?.() ?? []),
    ...(endpoint === undefined ? [] : [["endpoint", endpoint.name] as [string, string]]),
    ["host", `${host}:${port}`],
    ["database", `${database}${readOnly ? " (read only)" : ""}`],
    ["user", user],
    ["login", loginText(parts)],
    ["pool", closed ? "closed" : `${pool.totalCount} of ${pool.options.max} connections open`],
  ];
}

function loginText({ credentials }: LakebaseParts): string {
  if (credentials === undefined) return "native password";
  const { current } = credentials;
  if (current === undefined) return "OAuth";
  return `OAuth, token until ${utcText(new Date(current.mintedAt + current.lifetime))}, renewed automatically`;
}
