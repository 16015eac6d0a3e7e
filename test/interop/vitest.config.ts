import { defineConfig } from "vitest/config";

const results = process.env.LOQUI_TEST_RESULTS;

export default defineConfig({
  test: {
    // OpenAI's SDK again: here what it gets is held against OpenAI's own schemas too.
    include: ["test/interop/**/*.test.ts", "test/clients/openai-*.test.ts", "test/fuzz/fuzz.test.ts"],
    hookTimeout: 60_000,
    env: { LOQUI_TEST_FUZZ_CASES: "20000" },
    testTimeout: 30_000,
    reporters: results === undefined ? ["default"] : ["default", "junit"],
    ...(results !== undefined && { outputFile: { junit: `${results}/interop-node.xml` } }),
  },
});
