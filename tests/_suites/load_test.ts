import { allowServers, loadTests } from "../support/suite.ts";

allowServers();
await loadTests("transfer/load", "transfer/formats", "transfer/columns", "transfer/copy");
