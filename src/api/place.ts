import { utcText } from "../core/text.ts";
import type { LakebaseParts } from "./open_connection.ts";

/** The address of a connection, which distinguishes it from other connections. */
interface Place {
  /** The endpoint or the instance; `undefined` if none was looked up. */
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
export function placeInFull({ endpoint, host, port, database, user, readOnly }: Place): string {
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
export function placesOfTwo(one: Place, other: Place): [one: string, other: string] {
  const [here, there] = [branchOf(one), branchOf(other)];
  if (here !== undefined && there !== undefined && here !== there) return [`branch ${here}`, `branch ${there}`];
  return [placeAmong(one, [other]), placeAmong(other, [one])];
}

function branchOf(place: Place): string | undefined {
  return branchName(place)[1];
}

/** The project and the branch of an endpoint. */
function branchName({ endpoint }: Place): [project?: string, branch?: string] {
  const [, project, branch] = /^projects\/([^/]+)\/branches\/([^/]+)/.exec(endpoint?.name ?? "") ?? [];
  return project === undefined || branch === undefined ? [] : [project, branch];
}

/** The shortest address that distinguishes a connection from the others: the branch's name, if nothing else differs. */
export function placeAmong(place: Place, others: readonly Place[]): string {
  const [project, branch] = branchName(place);
  const elsewhere = (other: Place) => branchName(other)[0] === project && branchName(other)[1] !== branch;
  if (branch !== undefined && others.every(elsewhere)) return `branch ${branch}`;
  const short = ({ database, host, port }: Place) => `${database} at ${host}:${port}`;
  const same = others.filter((other) => short(other) === short(place));
  const role = same.some(({ user }) => user !== place.user) ? ` as ${place.user}` : "";
  const reads = same.some(({ readOnly }) => readOnly !== place.readOnly) && place.readOnly ? ", read only" : "";
  return `${short(place)}${role}${reads}`;
}

/** The facts that a connection shows about itself, by name, without secrets. */
export function connectionFacts(parts: LakebaseParts, closed: boolean): [name: string, value: string][] {
  const { host, port, database, user, endpoint, readOnly, pool } = parts;
  const named: [string, string][] = endpoint === undefined ? [] : [["endpoint", endpoint.name]];
  return [
    ...(parts.about?.() ?? []),
    ...named,
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
