import { loadTests } from "../support/suite.ts";

await loadTests("explore", "plot", "doctor", "net");
