/** An error of the workspace API: a status and `{ error_code, message }`. */
export class ApiError extends Error {
  readonly status: number;
  readonly errorCode: string;
  /** The `details` of the body, if any. */
  readonly details: unknown[] | undefined;

  constructor(status: number, errorCode: string, message: string, details?: unknown[]) {
    super(message);
    this.details = details;
    this.name = "ApiError";
    this.status = status;
    this.errorCode = errorCode;
  }
}

/** 400 with the code that the API uses for a bad field. */
export function invalid(message: string): ApiError {
  return new ApiError(400, "INVALID_PARAMETER_VALUE", message);
}

/** 404 with the code that the API uses for an unknown name. */
export function notFound(message = "resource not found"): ApiError {
  return new ApiError(404, "NOT_FOUND", message);
}

/** The usual `error_code` for a status. */
export function errorCodeOf(status: number): string {
  return ERROR_CODES[status] ?? "INTERNAL_ERROR";
}

const ERROR_CODES: Record<number, string> = {
  400: "INVALID_PARAMETER_VALUE",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ALREADY_EXISTS",
  413: "REQUEST_LIMIT_EXCEEDED",
  429: "REQUEST_LIMIT_EXCEEDED",
  503: "TEMPORARILY_UNAVAILABLE",
  507: "INSUFFICIENT_STORAGE",
};

/** An error response of the API. */
export function errorAnswer(status: number, error_code: string, message: string, details?: unknown[]): Response {
  const body = { error_code, message: `${message} [TraceId: ${crypto.randomUUID()}]`, ...(details && { details }) };
  return Response.json(body, { status });
}
