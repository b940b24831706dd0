import { loadTests } from "../support/suite.ts";

await loadTests("plot", "explore", "doctor"); // plot first: what it says depends on which connections are open
