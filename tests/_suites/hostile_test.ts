import { loadTests } from "../support/suite.ts";

await loadTests("cells", "hostile");
