/**
 * Everything that this module can load: what `mod.ts` loads, the shell, the kernel, and what is fetched only when it is used. To
 * fill a cache for a closed network, cache this module; to put everything into a program, `deno compile --include` it. It is not
 * to be imported.
 *
 * @module
 */

import "../mod.ts";
import "./cli/main.ts";
import "./kernel/main.ts";
import "./local/mod.ts";
import "./local/database_worker.ts";
import "./plot/draw_svg.ts";
import "./transfer/columns/arrow_table.ts";
import "./transfer/formats/arrow/write.ts";
import "./transfer/formats/columnar_worker.ts";
import "./transfer/formats/parquet/write.ts";
