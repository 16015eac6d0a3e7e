import { defineConfig } from "vitest/config";

const results = process.env.LOQUI_TEST_RESULTS;

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/interop/**"],
    setupFiles: ["test/support/validate-responses.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
    reporters: results === undefined ? ["default"] : ["default", "junit"],
    ...(results !== undefined && { outputFile: { junit: `${results}/npm-test.xml` } }),
  },
});
