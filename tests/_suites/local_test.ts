import { loadTests } from "../support/suite.ts";

// The servers that files share work beside each test, so that a call which begins or ends in it may be theirs.
Deno.test.sanitizer({ ops: false, resources: true });

await loadTests("local");
