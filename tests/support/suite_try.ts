for (const file of Deno.env.get("FILES")!.split(" ")) await import(new URL(`../../${file}`, import.meta.url).href);
