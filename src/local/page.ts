import { invalid } from "./api_error.ts";

const MAX_PAGE = 100;

/** One page of a list under its key, which the API leaves out where the page is empty. */
export function page(key: string, items: unknown[], query: URLSearchParams): Record<string, unknown> {
  const size = Number(query.get("page_size") || MAX_PAGE);
  if (!Number.isInteger(size) || size < 1) throw invalid("Field 'page_size' must be a positive integer");
  const token = query.get("page_token");
  const start = token ? Number(atobOr(token)) : 0;
  if (!Number.isInteger(start) || start < 0 || start > items.length) throw invalid("Field 'page_token' is not valid");
  const end = start + Math.min(size, MAX_PAGE);
  return {
    ...(end > start && items.length > start ? { [key]: items.slice(start, end) } : {}),
    ...(end < items.length ? { next_page_token: btoa(String(end)) } : {}),
  };
}

function atobOr(text: string): string {
  try {
    return atob(text);
  } catch {
    return "no token";
  }
}
