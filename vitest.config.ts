import { defineConfig } from "vitest/config";

const NATS_TESTS = "**/*.nats.test.ts";
const NOT_OURS = ["**/node_modules/**", "proto/gen/**", ".data/**"];

export default defineConfig({
  test: {
    // A test that was narrowed or switched off by hand must not pass unseen.
    allowOnly: false,
    projects: [
      {
        test: {
          name: "unit",
          include: [
            "{platform,actors,gateway,cli,k8s,bench}/**/*.test.ts",
            "web/**/*.test.ts",
            "test/{tidy,run}/**/*.test.ts",
          ],
          exclude: [...NOT_OURS, NATS_TESTS],
          isolate: false,
          // Far above what they take: a busy machine must not fail them.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "nats",
          include: [NATS_TESTS],
          exclude: [...NOT_OURS, "test/{e2e,faults}/**"],
          maxWorkers: 2,
          testTimeout: 30_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "sim",
          include: ["test/sim/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 300_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/{e2e,faults}/**/*.test.ts"],
          exclude: NOT_OURS,
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
