/** What the workspace API answers when it refuses: a status and `{ error_code, message }`. */
export class ApiError extends Error {
  readonly status: number;
  readonly errorCode: string;

  constructor(status: number, errorCode: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.errorCode = errorCode;
  }
}

/** 400 with the code that the API uses for a bad field. */
export function invalid(message: string): ApiError {
  return new ApiError(400, "INVALID_PARAMETER_VALUE", message);
}

/** 404 with the code that the API uses for a name that isn't there. */
export function notFound(message = "resource not found"): ApiError {
  return new ApiError(404, "NOT_FOUND", message);
}

/** The `error_code` that usually comes with a status. */
export function errorCodeOf(status: number): string {
  return ERROR_CODES[status] ?? "INTERNAL_ERROR";
}

const ERROR_CODES: Record<number, string> = {
  400: "INVALID_PARAMETER_VALUE",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ALREADY_EXISTS",
  429: "REQUEST_LIMIT_EXCEEDED",
  503: "TEMPORARILY_UNAVAILABLE",
};

/** Bytes of a request's body; the real API's own requests have a few hundred. */
const MOST_BODY_BYTES = 1_000_000;

/**
 * The body of a request, which comes before anybody has shown a login.
 *
 * @throws {ApiError} 413 for one that is too long.
 */
export async function bodyText(request: Request): Promise<string> {
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > MOST_BODY_BYTES) {
      throw new ApiError(413, "REQUEST_LIMIT_EXCEEDED", `The request's body has more than ${MOST_BODY_BYTES} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
