import { allowServers, loadTests } from "../support/suite.ts";

allowServers();
await loadTests(
  "faults_test.ts",
  "secrets_test.ts",
  "permissions_test.ts",
  "transfer/progress_test.ts",
  "transfer/round_trip_limits_test.ts",
);
