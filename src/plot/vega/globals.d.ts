/** The part of Vega and Vega-Lite that draws a chart. As scripts, they are the globals `vega` and `vegaLite`. */

/** Writes warnings and errors. */
export interface Logger {
  level(): Logger;
  error(...messages: unknown[]): Logger;
  warn(): Logger;
  info(): Logger;
  debug(): Logger;
}

/** Fetches the files and pictures of a chart. */
export interface Loader {
  load(address: unknown): Promise<string>;
  file(address: unknown): Promise<string>;
  http(address: unknown): Promise<string>;
}

/** A drawn chart. */
export interface View {
  runAsync(): Promise<View>;
  scenegraph(): { root: unknown };
  toSVG(): Promise<string>;
  finalize(): View;
}

/** The global `vega`. */
export interface Vega {
  version: string;
  loader(): Loader;
  parse(spec: unknown): unknown;
  View: new (runtime: unknown, options: { renderer: "none"; loader?: Loader; logger?: Logger }) => View;
}

/** The global `vegaLite`. */
export interface VegaLite {
  version: string;
  compile(spec: unknown, options?: { logger: Logger }): { spec: unknown };
}
