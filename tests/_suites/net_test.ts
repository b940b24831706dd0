import { allowServers, loadTests } from "../support/suite.ts";

allowServers();
await loadTests("net");
