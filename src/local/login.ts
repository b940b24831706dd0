import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";
import type { Connection, Startup } from "./connection.ts";
import { commandLineOptions, type Database } from "./database.ts";
import type { Faults } from "./faults.ts";
import { authentication, cstring, type Failure, messageType, PostgresError, readCString } from "./messages.ts";
import type { Claims, CredentialIssuer } from "./tokens.ts";
import type { Branch, Endpoint, Workspace } from "./workspace.ts";

/** What decides whether a login is accepted. */
export interface LoginPolicy {
  workspace: Workspace;
  credentials: CredentialIssuer;
  passwords: ReadonlyMap<string, string>;
  /** The data of a branch; `undefined` for a host that belongs to no branch. */
  databaseOf(branch: Branch | undefined): Pick<Database, "hasRole">;
  faults: Faults;
  now(): Date;
}

// The kinds of Authentication messages.
const CLEARTEXT = 3;
const SASL = 10;
const SASL_CONTINUE = 11;
const SASL_FINAL = 12;

/** The limit of a password or SASL message, in bytes. A credential has about a thousand. */
const MAX_PASSWORD_BYTES = 65_536;

/** A login whose role is proved. */
interface Authenticated {
  /** The branch; `undefined` if neither the host nor the credential belongs to one. */
  branch: Branch | undefined;
  readOnly: boolean;
}

/**
 * Lets a client prove that it is `role`, with a credential or a native password.
 *
 * @returns The login's branch, and whether the session may only read.
 * @throws {PostgresError} If the role may not log in.
 */
export async function authenticate(
  { client, servername, parameters }: Startup,
  role: string,
  policy: LoginPolicy,
): Promise<Authenticated> {
  const { endpoints } = policy.workspace;
  const hostEndpoints = endpoints.filter((endpoint) => endpoint.hosts.includes(servername));
  const readOnlyHost = hostEndpoints.some((endpoint) => endpoint.readOnlyHost === servername);
  if (hostEndpoints.some((endpoint) => endpoint.pooledHost === servername)) {
    checkPoolerParameters(parameters);
    await verifyPassword(client, policy.passwords.get(role), POOLER_REFUSAL);
    return { branch: hostEndpoints[0]!.branch, readOnly: false };
  }
  const password = policy.passwords.get(role);
  if (password !== undefined) {
    await verifyPassword(client, password, wrongPassword(role));
    if (hostEndpoints.length) wake(hostEndpoints, policy);
    return { branch: hostEndpoints[0]?.branch, readOnly: readOnlyHost };
  }
  const claims = await readClaims(client, role, policy);
  const matching = hostEndpoints.filter((endpoint) => claims.endpoints.includes(endpoint.name));
  const claimed = endpoints.find(({ name }) => claims.endpoints.includes(name));
  const branch = (matching[0] ?? hostEndpoints[0] ?? claimed)?.branch;
  if (!await policy.databaseOf(branch).hasRole(role)) {
    throw new PostgresError({ sqlstate: "28000", message: `role "${role}" does not exist` });
  }
  // A host of no endpoint leads to every endpoint, and a Provisioned instance has no host of its own here.
  const anyEndpoint = hostEndpoints.length === 0 || claims.endpoints.some((name) => name.startsWith("instances/"));
  if (claims.role !== role || (!matching.length && !anyEndpoint)) throw wrongPassword(role);
  if (matching.length) wake(matching, policy);
  return { branch, readOnly: claims.readOnly || readOnlyHost || matching.some((endpoint) => endpoint.readOnly) };
}

/** The startup parameters that PgBouncer accepts, because it can set them in each session with the server. */
const POOLER_PARAMETERS =
  /^(user|database|application_name|client_encoding|datestyle|timezone|standard_conforming_strings|intervalstyle)$/i;

function checkPoolerParameters(parameters: ReadonlyMap<string, string>): void {
  for (const name of parameters.keys()) {
    if (name === "options") checkPoolerOptions(parameters.get(name)!);
    else if (!POOLER_PARAMETERS.test(name)) throw new PostgresError(unsupportedParameter(`: ${name}`));
  }
}

function checkPoolerOptions(options: string): void {
  for (const name of commandLineOptions(options).keys()) {
    if (!POOLER_PARAMETERS.test(name)) throw new PostgresError(unsupportedParameter(` in options: ${name}`));
  }
}

function unsupportedParameter(suffix: string): Failure {
  return { sqlstate: "08P01", message: `unsupported startup parameter${suffix}` };
}

/** Restores archived branches and wakes idle endpoints. Refuses the login if no endpoint is up. */
function wake(endpoints: Endpoint[], { now }: LoginPolicy): void {
  for (const { branch } of endpoints) branch.restore(now().getTime());
  const up = endpoints.filter((endpoint) => endpoint.up);
  if (!up.length) throw new PostgresError(COMPUTE_UNAVAILABLE);
  for (const endpoint of up) if (endpoint.state === "IDLE") endpoint.state = "ACTIVE";
}

/** Requests a credential, and verifies it. */
async function readClaims(client: Connection, role: string, policy: LoginPolicy): Promise<Claims> {
  await client.write(authentication(CLEARTEXT));
  const message = await readPasswordMessage(client);
  const failure = policy.faults.takeLoginFailure();
  if (failure) throw new PostgresError(failure);
  const claims = await policy.credentials.verify(readCString(message, 5).text, policy.now());
  if (claims === "not a JWT") throw new PostgresError(NOT_A_JWT);
  if (typeof claims === "string" || policy.faults.expired(claims.issuedAt)) throw wrongPassword(role);
  return claims;
}

/** Verifies a native password with SCRAM-SHA-256. `undefined` as the password refuses every client. */
async function verifyPassword(
  client: Connection,
  password: string | undefined,
  refusal: PostgresError,
): Promise<void> {
  const server = new ScramServer(password);
  await client.write(authentication(SASL, new Uint8Array([...cstring("SCRAM-SHA-256"), 0])));
  const first = await readPasswordMessage(client);
  const { next } = readCString(first, 5);
  const challenge = server.challenge(decode(first, next + 4));
  if (!challenge) throw refusal;
  await client.write(authentication(SASL_CONTINUE, encode(challenge)));
  const proof = server.verify(decode(await readPasswordMessage(client), 5));
  if (!proof) throw refusal;
  await client.write(authentication(SASL_FINAL, encode(proof)));
}

/** Reads a PasswordMessage or a SASL message. */
async function readPasswordMessage(client: Connection): Promise<Uint8Array> {
  const head = await client.read(5);
  if (!head) throw new PostgresError(CONNECTION_CLOSED);
  const size = new DataView(head.buffer, head.byteOffset, 5).getInt32(1);
  if (messageType(head) !== "p" || size < 4 || size > MAX_PASSWORD_BYTES) throw new PostgresError(NOT_A_PASSWORD);
  const body = size > 4 ? await client.read(size - 4) : new Uint8Array();
  if (!body) throw new PostgresError(CONNECTION_CLOSED);
  return new Uint8Array([...head, ...body]);
}

function decode(message: Uint8Array, offset: number): string {
  return new TextDecoder().decode(message.subarray(offset));
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function wrongPassword(role: string): PostgresError {
  return new PostgresError({ sqlstate: "28P01", message: `password authentication failed for user "${role}"` });
}

/** The error for a compute that is disabled, being created, or suspended. */
export const COMPUTE_UNAVAILABLE = {
  sqlstate: "28000",
  message: "External authorization failed.",
  detail:
    "This could be due to paused instances, disabling readable secondaries, IP ACLs or private link configuration.",
};

const NOT_A_JWT = { sqlstate: "28P01", message: "Provided authentication token is not a valid JWT encoding" };
const NOT_A_PASSWORD = { sqlstate: "08P01", message: "expected password response" };
const CONNECTION_CLOSED = { sqlstate: "08006", message: "connection closed during authentication" };

// PgBouncer uses 08P01 for each error of its own.
const POOLER_REFUSAL = new PostgresError({ sqlstate: "08P01", message: "SASL authentication failed" });

/** The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. */
class ScramServer {
  readonly #password: string | undefined;
  readonly #salt = randomBytes(16);
  #clientFirst = "";
  #serverFirst = "";

  /** Without a password, the messages are of the same form, but every proof is refused. */
  constructor(password: string | undefined) {
    this.#password = password;
  }

  /** Answers the client's first message; `undefined` if the message is malformed. */
  challenge(clientFirst: string): string | undefined {
    const [, bare, nonce] = /^[ny],[^,]*,(n=[^,]*,r=([^,]+).*)$/.exec(clientFirst) ?? [];
    if (!bare) return undefined;
    this.#clientFirst = bare;
    this.#serverFirst = `r=${nonce}${randomBytes(18).toString("base64")},s=${
      this.#salt.toString("base64")
    },i=${ITERATIONS}`;
    return this.#serverFirst;
  }

  /** Verifies the client's proof, and returns the server's; `undefined` if the client's is wrong. */
  verify(clientFinal: string): string | undefined {
    const [, withoutProof = "", nonce = "", proof = ""] = /^(c=[^,]+,r=([^,]+)),p=(.+)$/.exec(clientFinal) ?? [];
    if (this.#password === undefined || !this.#serverFirst.startsWith(`r=${nonce},`)) return undefined;
    const salted = pbkdf2Sync(this.#password.normalize("NFKC"), this.#salt, ITERATIONS, 32, "sha256");
    const message = `${this.#clientFirst},${this.#serverFirst},${withoutProof}`;
    const clientKey = hmac(salted, "Client Key");
    const storedKey = createHash("sha256").update(clientKey).digest();
    const signature = hmac(storedKey, message);
    const provenKey = xor(signature, fromBase64(proof));
    if (provenKey.length !== 32 || !timingSafeEqual(createHash("sha256").update(provenKey).digest(), storedKey)) {
      return undefined;
    }
    return `v=${hmac(hmac(salted, "Server Key"), message).toBase64()}`;
  }
}

const ITERATIONS = 4096;

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

function xor(left: Uint8Array, right: Uint8Array): Uint8Array {
  return right.map((byte, i) => byte ^ (left[i] ?? 0));
}

function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return new Uint8Array(); // a proof never has this length
  }
}
