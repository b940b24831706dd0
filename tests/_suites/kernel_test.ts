import { loadTests } from "../support/suite.ts";

await loadTests("kernel");
