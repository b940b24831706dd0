import { allowServers, loadTests } from "../support/suite.ts";

allowServers();
await loadTests("plot", "explore", "catalog", "doctor"); // plot first: what it says depends on which connections are open
