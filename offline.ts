/**
 * Everything that this module can load: what `mod.ts` loads, the shell, the kernel, and what is fetched only when it is used. To
 * fill a cache for a closed network, cache this module; to put everything into a program, `deno compile --include` it. It is not
 * to be imported.
 *
 * @module
 */

import "./mod.ts";
import "./src/cli/main.ts";
import "./src/kernel/main.ts";
import "./src/local/mod.ts";
import "./src/local/database_worker.ts";
import "./src/plot/draw_svg.ts";
import "./src/transfer/columns/arrow_table.ts";
import "./src/transfer/formats/arrow/write.ts";
import "./src/transfer/formats/columnar_worker.ts";
import "./src/transfer/formats/parquet/write.ts";
