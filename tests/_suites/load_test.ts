import { loadTests } from "../support/suite.ts";

await loadTests("transfer/load", "transfer/formats", "transfer/columns", "transfer/copy");
