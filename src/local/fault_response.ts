import { errorCodeOf } from "./api_error.ts";
import type { WorkspaceFault } from "./faults.ts";

/** An error as the API tells it. */
export function refusal(status: number, error_code: string, message: string): Response {
  return Response.json({ error_code, message: `${message} [TraceId: ${crypto.randomUUID()}]` }, { status });
}

/** The answer that a fault gives. */
export async function faulty(fault: WorkspaceFault, closing: AbortSignal): Promise<Response> {
  const { body, status = body === undefined ? 500 : 200, answer, retryAfter, contentType } = fault;
  if (answer === "never") {
    await new Promise<void>((resolve) => closing.addEventListener("abort", () => resolve(), { once: true }));
  }
  // A body shorter than it was said to be makes the server drop the connection.
  if (answer === "reset") return new Response(nothing(), { headers: { "content-length": "100" } });
  const response = body === undefined
    ? refusal(status, fault.errorCode ?? errorCodeOf(status), fault.message ?? `Injected fault ${status}`)
    : new Response(body, {
      status,
      headers: { "content-type": contentType ?? (body.startsWith("<") ? "text/html" : "application/json") },
    });
  if (retryAfter !== undefined) response.headers.set("Retry-After", String(retryAfter));
  return response;
}

/** The first half of an answer. */
export async function truncated(response: Response): Promise<Response> {
  const text = await response.text();
  return new Response(text.slice(0, text.length / 2), { status: response.status, headers: response.headers });
}

function nothing(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (stream) => stream.close() });
}
