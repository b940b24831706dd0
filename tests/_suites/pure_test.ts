import { loadTests } from "../support/suite.ts";

await loadTests("core", "draw", "settings", "auth");
