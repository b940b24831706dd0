/** Where a kernel listens and how it signs, as Jupyter writes it down for it. */
export interface ConnectionInfo {
  /** The address to listen on. */
  ip: string;
  /** The key of the signatures; empty for none. */
  key: string;
  ports: Record<ChannelName, number>;
}

/** The five channels of a kernel. */
export const CHANNELS = ["shell", "iopub", "stdin", "control", "hb"] as const;

/** One of the five channels of a kernel. */
export type ChannelName = typeof CHANNELS[number];

/**
 * Reads a connection file.
 *
 * @param path The file that Jupyter wrote.
 * @throws {Error} When it can't be read, or is no connection file of a kind that this kernel knows.
 */
export async function readConnectionFile(path: string): Promise<ConnectionInfo> {
  let text;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new Error(`Cannot read the connection file ${JSON.stringify(path)}: ${(error as Error).message}`);
  }
  try {
    return parseConnectionInfo(text);
  } catch (error) {
    throw new Error(`Cannot use the connection file ${JSON.stringify(path)}: ${(error as Error).message}`);
  }
}

/**
 * The settings that a connection file's text holds.
 *
 * @throws {Error} With what is wrong with it.
 */
export function parseConnectionInfo(text: string): ConnectionInfo {
  const info = parseObject(text);
  const { transport = "tcp", signature_scheme: scheme = "hmac-sha256", ip, key = "" } = info;
  if (transport !== "tcp") throw new Error(`its transport is ${describeValue(transport)}; "tcp" is wanted`);
  if (scheme !== "hmac-sha256" && key !== "") {
    throw new Error(`its signature_scheme is ${describeValue(scheme)}; "hmac-sha256" is wanted`);
  }
  if (typeof ip !== "string" || ip === "") throw new Error(`its ip is ${describeValue(ip)}; an address is wanted`);
  if (typeof key !== "string") throw new Error("its key is no text");
  const ports = Object.fromEntries(CHANNELS.map((channel) => [channel, readPort(info, `${channel}_port`)]));
  if (new Set(Object.values(ports)).size < CHANNELS.length) {
    throw new Error("two of its ports are the same; five are wanted");
  }
  return { ip: ip === "*" ? "0.0.0.0" : ip, key, ports: ports as Record<ChannelName, number> };
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("it is no JSON"); // the parser's own message would quote the key
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error("it holds no JSON object");
}

function readPort(info: Record<string, unknown>, name: string): number {
  const value = info[name];
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < 65_536) return value;
  throw new Error(`its ${name} is ${describeValue(value)}; a whole number from 1 to 65535 is wanted`);
}

function describeValue(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

/** A connection file's text. */
export function connectionFileText({ ip, key, ports }: ConnectionInfo): string {
  const named = Object.fromEntries(CHANNELS.map((channel) => [`${channel}_port`, ports[channel]]));
  return JSON.stringify({ transport: "tcp", ip, key, signature_scheme: "hmac-sha256", ...named, kernel_name: "deno" });
}

/** Free ports of loopback, for a kernel that is to be started. */
export function loopbackInfo(key: string): ConnectionInfo {
  const ip = loopbackAddress();
  const free = freePorts(CHANNELS.length, ip);
  const ports = Object.fromEntries(CHANNELS.map((channel, i) => [channel, free[i]])) as ConnectionInfo["ports"];
  return { ip, key, ports };
}

/**
 * Below the ports that Linux (32768), macOS and Windows (49152) hand out by themselves: one of those may be another
 * program's before it is listened on, the more so on a busy machine.
 */
const MIN_PORT = 20_000;
const MAX_PORT = 32_767;
/** The one that every system has. */
const DEFAULT_ADDRESS = "127.0.0.1";

/**
 * An address of loopback, one of sixteen million where the system has them, as Linux and Windows do: kernels that start in
 * one moment are then not in each other's way, of which none listens yet on what it has chosen.
 */
export function loopbackAddress(): string {
  const address = `127.${[...crypto.getRandomValues(new Uint8Array(3))].map((byte) => 1 + byte % 254).join(".")}`;
  try {
    Deno.listen({ hostname: address, port: 0 }).close();
    return address;
  } catch {
    return DEFAULT_ADDRESS;
  }
}

/** Ports of loopback on which nothing listens at this moment, each another. */
export function freePorts(count: number, address = DEFAULT_ADDRESS): number[] {
  using held = new DisposableStack();
  return Array.from({ length: count }, () => held.use(listenSomewhere(address)).addr.port);
}

function listenSomewhere(hostname: string): Deno.TcpListener {
  for (let tries = 1;; tries++) {
    const port = MIN_PORT + Math.floor(Math.random() * (MAX_PORT - MIN_PORT + 1));
    try {
      return Deno.listen({ hostname, port });
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}
