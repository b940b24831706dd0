/** The content of a connection file: the addresses of a kernel and the key of its signatures. */
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
 * @throws {Error} When the file can't be read, or this kernel does not support its content.
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
 * Parses the text of a connection file.
 *
 * @throws {Error} When a field is missing or invalid; the message names the field.
 */
export function parseConnectionInfo(text: string): ConnectionInfo {
  const info = parseObject(text);
  const { transport = "tcp", signature_scheme: scheme = "hmac-sha256", ip, key = "" } = info;
  if (transport !== "tcp") throw new Error(`its transport is ${describeValue(transport)}; expected "tcp"`);
  if (scheme !== "hmac-sha256" && key !== "") {
    throw new Error(`its signature_scheme is ${describeValue(scheme)}; expected "hmac-sha256"`);
  }
  if (typeof ip !== "string" || ip === "") throw new Error(`its ip is ${describeValue(ip)}; expected an address`);
  if (typeof key !== "string") throw new Error("its key is not a string");
  const ports = Object.fromEntries(CHANNELS.map((channel) => [channel, readPort(info, `${channel}_port`)]));
  if (new Set(Object.values(ports)).size < CHANNELS.length) {
    throw new Error("two of its ports are the same; expected five different ports");
  }
  return { ip: ip === "*" ? "0.0.0.0" : ip, key, ports: ports as Record<ChannelName, number> };
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON"); // the parser's message could quote the key
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error("it is not a JSON object");
}

function readPort(info: Record<string, unknown>, name: string): number {
  const value = info[name];
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < 65_536) return value;
  throw new Error(`its ${name} is ${describeValue(value)}; expected a whole number from 1 to 65535`);
}

function describeValue(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

/** The text of a connection file. */
export function connectionFileText({ ip, key, ports }: ConnectionInfo): string {
  const portFields = Object.fromEntries(CHANNELS.map((channel) => [`${channel}_port`, ports[channel]]));
  return JSON.stringify({
    transport: "tcp",
    ip,
    key,
    signature_scheme: "hmac-sha256",
    ...portFields,
    kernel_name: "deno",
  });
}

/** The connection info of a new kernel: a loopback address and free ports. */
export function loopbackInfo(key: string): ConnectionInfo {
  const ip = loopbackAddress();
  const numbers = freePorts(CHANNELS.length, ip);
  const ports = Object.fromEntries(
    CHANNELS.map((channel, index) => [channel, numbers[index]]),
  ) as ConnectionInfo["ports"];
  return { ip, key, ports };
}

/**
 * The first and last port to choose from. They are below the ephemeral ports of Linux (from 32768), macOS and Windows (from
 * 49152): the system could give an ephemeral port to another program before the kernel listens on it.
 */
const MIN_PORT = 20_000;
const MAX_PORT = 32_767;
/** The loopback address that every system has. */
const DEFAULT_ADDRESS = "127.0.0.1";

/**
 * A random loopback address if the system accepts all of 127.0.0.0/8, as Linux and Windows do, or else 127.0.0.1. With a
 * random address, two kernels that start at the same moment do not choose the same address and port.
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

/** Different loopback ports on which nothing listens now. */
export function freePorts(count: number, address = DEFAULT_ADDRESS): number[] {
  using listeners = new DisposableStack();
  return Array.from({ length: count }, () => listeners.use(listenOnRandomPort(address)).addr.port);
}

function listenOnRandomPort(hostname: string): Deno.TcpListener {
  for (let tries = 1;; tries++) {
    const port = MIN_PORT + Math.floor(Math.random() * (MAX_PORT - MIN_PORT + 1));
    try {
      return Deno.listen({ hostname, port });
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}
