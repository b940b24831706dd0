import { type Browser, chromium } from "npm:playwright-core@1.65.1";
import { isFile } from "./files.ts";

/** Without the network flags, every start contacts the vendor's servers. */
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The usual paths on Linux, macOS and Windows. */
const USUAL = [
  ...["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
  ...["/Applications/Chromium.app/Contents/MacOS/Chromium"],
  ...["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"],
  ...["C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe"],
];

/** The reason why `launchChromium` can't work here. */
export function chromiumMissing(): string | undefined {
  return executable() ? undefined : "no Chromium found; apt-get install chromium, or set LAKEBASE_TEST_CHROMIUM";
}

/** A headless browser with an empty profile; `close()` ends it. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = executable();
  if (!executablePath) throw new Error(chromiumMissing());
  return await chromium.launch({ executablePath, headless: true, args: flags, timeout: 180_000 });
}

function executable(): string | undefined {
  const chosen = Deno.env.get("LAKEBASE_TEST_CHROMIUM");
  return (chosen ? [chosen] : USUAL).find(isFile);
}
