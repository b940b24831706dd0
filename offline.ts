/**
 * Everything that this module can load: `mod.ts`, the shell, the kernel, and what Deno fetches only when it is used.
 *
 * `deno cache` of it fills a cache for a closed network, and `deno compile --include` puts what is loaded late into a program.
 * Do not import it.
 *
 * @example
 * ```sh
 * deno cache jsr:@lakebase/deno/offline
 * ```
 *
 * @module
 */

import "./mod.ts";
import "./src/cli/main.ts";
import "./src/core/spans.ts";
import "./src/kernel/main.ts";
import "./src/local/mod.ts";
import "./src/local/database_worker.ts";
import "./src/local/warehouse/arrow.ts";
import "./src/plot/svg_worker.ts";
import "./src/transfer/formats/arrow/open.ts";
import "./src/transfer/formats/arrow/write.ts";
import "./src/transfer/formats/columnar_worker.ts";
import "./src/transfer/formats/parquet/write/write.ts";
