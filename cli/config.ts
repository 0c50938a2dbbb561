import { defineConfig } from "../platform/config.ts";
import { natsSettings } from "../platform/nats.ts";

/** Settings of `npm start`, beside those of the roles that it runs. */
export const devSettings = defineConfig({
  natsUrl: natsSettings.natsUrl,
  port: {
    env: "PORT",
    type: "integer",
    default: 8080,
    min: 0,
    max: 65_535,
    description: "port of the API; 0 takes any free one",
  },
  dataDir: {
    env: "TRADEWIND_DATA_DIR",
    type: "text",
    default: ".data",
    description: "folder of the embedded nats-server, kept between runs",
  },
  syncInterval: {
    env: "NATS_SYNC_INTERVAL",
    type: "text",
    default: "always",
    pattern: /^(always|\d+(ms|s|m))$/,
    description:
      "how often the embedded nats-server syncs to disk: `always` survives a power cut, `2m` a kill -9",
  },
  logLevel: {
    env: "LOG_LEVEL",
    type: "choice",
    choices: ["fatal", "error", "warn", "info", "debug", "trace", "silent"],
    default: "warn",
    description: "least level that is logged",
  },
});

/**
 * Settings of the commands that call a system that runs. Without them, the one of this folder's `npm start` is
 * meant.
 */
export const clientSettings = defineConfig({
  url: {
    env: "TRADEWIND_URL",
    type: "url",
    protocols: ["http", "https"],
    optional: true,
    description: "gateway that `seed`, `load`, `reconcile`, `dead-letters` and `doctor` call",
  },
  ...natsSettings,
  dataDir: devSettings.dataDir,
});
