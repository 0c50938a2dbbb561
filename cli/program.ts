import { Command, Option } from "commander";
import { readConfig } from "../platform/config.ts";
import { WAITS } from "./api-paths.ts";
import { clientSettings, devSettings } from "./config.ts";
import { findEndpoint } from "./endpoint.ts";
import { baseUrl, days, decimal, duration, integer, integers, range, share } from "./flags.ts";
import type { LoadOptions } from "./load.ts";
import { PRESET_NAMES, PRESETS } from "./presets.ts";
import type { SeedOptions } from "./seed.ts";
import { processTerminal } from "./terminal.ts";

type Env = Readonly<Record<string, string | undefined>>;

const COUNT_MAX = 10_000_000;

/** Runs the command that stands in `args`. @throws ExitError and other errors with an `exitCode` */
export async function runProgram(args: readonly string[], env: Env): Promise<void> {
  await createProgram(env).parseAsync([...args], { from: "user" });
}

/** All commands with their flags. */
export function createProgram(env: Env): Command {
  const program = new Command("tradewind")
    .description("A durable commerce backend: run it, fill it, put load on it, look inside.")
    .showHelpAfterError("(see --help)");
  addRoles(program, env);
  addSeed(program, env);
  addLoad(program, env);
  addInspect(program, env);
  addReconcile(program, env);
  addArchive(program, env);
  addDeadLetters(program, env);
  addDoctor(program, env);
  return program;
}

/** The gateway that a command means: its flag, else TRADEWIND_URL, else the system that runs in this folder. */
function gatewayUrl(env: Env, flag: string | undefined): string {
  const config = readConfig(clientSettings, env);
  return flag ?? baseUrl(config.url ?? findEndpoint(config.dataDir).url);
}

function urlOption(): Option {
  return new Option(
    "--url <url>",
    "the gateway; default: TRADEWIND_URL, else this folder's npm start, else port 8080",
  ).argParser(baseUrl);
}

/** Aborted by the first Ctrl-C: a generator then stops and reports what it has seen. */
function interrupted(): AbortSignal {
  const abort = new AbortController();
  process.once("SIGINT", () => abort.abort()).once("SIGTERM", () => abort.abort());
  return abort.signal;
}

function addRoles(program: Command, env: Env): void {
  program
    .command("dev")
    .description("everything in one process, with an embedded nats-server and a demo catalogue (npm start)")
    .option("--fresh", "forget all data first", false)
    .action(async ({ fresh }: { fresh: boolean }) => {
      const { dev } = await import("./dev.ts");
      await dev(processTerminal(), env, fresh);
    });
  program
    .command("gateway")
    .description("the API as a process of its own, against NATS_URL")
    .action(async () => {
      const { runGatewayProcess } = await import("../gateway/main.ts");
      await runGatewayProcess(env);
    });
  program
    .command("worker")
    .description("a worker as a process of its own, against NATS_URL")
    .requiredOption("--group <names...>", "groups to work for: core, analytics")
    .action(async ({ group }: { group: readonly string[] }) => {
      const { runWorkerProcess } = await import("../actors/main.ts");
      await runWorkerProcess(
        env,
        group.flatMap((names) => names.split(",")),
      );
    });
  program
    .command("psp")
    .description("the simulated payment provider as a process of its own")
    .action(async () => {
      const { runPspProcess } = await import("../actors/main.ts");
      await runPspProcess(env);
    });
}

function addSeed(program: Command, env: Env): void {
  const presets = PRESET_NAMES.map((name) => `${name}: ${PRESETS[name].description}`).join("; ");
  program
    .command("seed")
    .description("create products and place orders, and say how it went")
    .option("--count <n>", "orders to place", integer(1, COUNT_MAX), 1_000)
    .addOption(urlOption())
    .option("--min-user <n>", "least number of a user", integer(0), 1)
    .option("--max-user <n>", "greatest number of a user", integer(0), 1_000)
    .option("--min-product <n>", "least number of a product (prod-<n>)", integer(0, 1_000_000), 1)
    .option("--max-product <n>", "greatest number of a product", integer(0, 1_000_000), 100)
    .option("--min-quantity <n>", "least quantity of an order", integer(1, 1_000_000), 1)
    .option("--max-quantity <n>", "greatest quantity of an order", integer(1, 1_000_000), 10)
    .option("--verbose", "one line for each order", false)
    .option("--rate <n>", "orders a second, evenly; 0: as fast as answers come", decimal(0, 100_000), 0)
    .option("--concurrency <n>", "orders under way at once, without --rate", integer(1, 1_024), 16)
    .option(
      "--seed <n>",
      "random seed; the same seed and flags place the same orders, once",
      integer(0, 2 ** 31),
    )
    .addOption(
      new Option("--preset <name>", `a fixed set of data instead (${presets})`).choices([...PRESET_NAMES]),
    )
    .option("--declined <share>", "share of orders whose payment is declined, like 5%", share, 0)
    .addOption(
      new Option("--wait <how>", "how far to wait for each order").choices([...WAITS]).default("settled"),
    )
    .option("--json", "the report as JSON", false)
    .action(async (flags: Omit<SeedOptions, "url"> & { url?: string }) => {
      const { seed } = await import("./seed.ts");
      await seed(processTerminal(), { ...flags, url: gatewayUrl(env, flags.url) }, interrupted());
    });
}

function addLoad(program: Command, env: Env): void {
  program
    .command("load")
    .description("put load on a gateway: closed loops (--in-flight) or orders that arrive at a rate (--rate)")
    .addOption(urlOption())
    .option(
      "--rate <n>",
      "open loop: orders a second, whatever the answers do; 0: closed loop",
      decimal(0, 100_000),
      0,
    )
    .addOption(
      new Option(
        "--duration <time>",
        "length of a run, like 30s; an open loop takes 10s without it",
      ).argParser(duration),
    )
    .option("--in-flight <n,…>", "closed loops: orders under way, one run for each", integers(1, 4_096), [64])
    .addOption(
      new Option("--orders <n>", "orders of a run; a closed loop takes 2,000 without it").argParser(
        integer(1, COUNT_MAX),
      ),
    )
    .addOption(new Option("--wait <how>", "what counts as an answer").choices([...WAITS]).default("settled"))
    .option("--hot", "one product for all orders", false)
    .option("--products <n>", "products to choose from, made when absent", integer(1, 10_000), 100)
    .option("--lines <n|n..m>", "lines of an order", range(1, 100), { min: 1, max: 1 })
    .option("--declined <share>", "share of orders whose payment is declined, like 5%", share, 0)
    .option(
      "--pids <n,…>",
      "processes whose CPU is measured, with all they started",
      integers(1, 2 ** 22),
      [],
    )
    .addOption(new Option("--seed <n>", "random seed of the orders").argParser(integer(0, 2 ** 31)))
    .option("--json", "one line of JSON for each run", false)
    .action(async (flags: Omit<LoadOptions, "url" | "durationMs"> & { url?: string; duration?: number }) => {
      const { load } = await import("./load.ts");
      const options = { ...flags, durationMs: flags.duration, url: gatewayUrl(env, flags.url) };
      await load(processTerminal(), options, interrupted());
    });
}

function addInspect(program: Command, env: Env): void {
  program
    .command("inspect")
    .description("print a stored message as JSON, everything in it decoded")
    .argument("<what>", "a subject (its newest message), a stream, or a bucket")
    .argument("[which]", "of a stream a sequence, of a bucket a key: LOG 42, actors order.demo.<id>")
    .option("--nats <url>", "NATS server; default: NATS_URL, else this folder's npm start, else port 4222")
    .action(async (what: string, which: string | undefined, flags: { nats?: string }) => {
      const { inspect } = await import("./inspect.ts");
      const credentials = readConfig(clientSettings, env);
      const { natsUrl, dataDir } = credentials;
      const servers = flags.nats ?? natsUrl ?? findEndpoint(dataDir).natsUrl;
      await inspect(processTerminal(), { servers, credentials }, what, which);
    });
}

const RECONCILE_TIMEOUT_MS = 5_000;

function addReconcile(program: Command, env: Env): void {
  program
    .command("reconcile")
    .description("prove that the books agree: stock, money, totals; exit code 1 if they do not")
    .addOption(urlOption())
    .option(
      "--timeout <time>",
      "how long to wait until the figures stand still",
      duration,
      RECONCILE_TIMEOUT_MS,
    )
    .option("--json", "the answer as JSON", false)
    .action(async (flags: { url?: string; timeout: number; json: boolean }) => {
      const { reconcile } = await import("./reconcile.ts");
      const { json, timeout: timeoutMs } = flags;
      await reconcile(processTerminal(), { url: gatewayUrl(env, flags.url), timeoutMs, json });
    });
}

const ARCHIVE_DAYS_MIN = 30;

function addArchive(program: Command, env: Env): void {
  program
    .command("archive")
    .description("let old orders leave now, as the workers do once an hour; their figures stay")
    .addOption(urlOption())
    .option(
      "--older-than <days>",
      "days since an order's last change, at least 30, like 45d",
      days(ARCHIVE_DAYS_MIN),
      ARCHIVE_DAYS_MIN,
    )
    .option("--json", "the answer as JSON", false)
    .action(async (flags: { url?: string; olderThan: number; json: boolean }) => {
      const { archive } = await import("./archive.ts");
      const { json, olderThan: olderThanDays } = flags;
      await archive(processTerminal(), { url: gatewayUrl(env, flags.url), olderThanDays, json });
    });
}

function addDeadLetters(program: Command, env: Env): void {
  const commands = program.command("dead-letters").description("messages that could not be applied");
  const letters = () => import("./dead-letters.ts");
  commands
    .command("list", { isDefault: true })
    .description("all of them, newest first")
    .addOption(urlOption())
    .option("--kind <kind>", "only those of this kind of actor")
    .option("--json", "as JSON", false)
    .action(async ({ url, kind, json }: { url?: string; kind?: string; json: boolean }) => {
      await (await letters()).listDeadLetters(processTerminal(), { url: gatewayUrl(env, url), kind, json });
    });
  commands
    .command("show")
    .description("one of them with its payload")
    .argument("<id>")
    .addOption(urlOption())
    .action(async (id: string, { url }: { url?: string }) => {
      await (await letters()).showDeadLetter(processTerminal(), gatewayUrl(env, url), id);
    });
  commands
    .command("redrive")
    .description("send one of them to its actor again")
    .argument("<id>")
    .addOption(urlOption())
    .action(async (id: string, { url }: { url?: string }) => {
      await (await letters()).redriveDeadLetter(processTerminal(), gatewayUrl(env, url), id);
    });
  commands
    .command("discard")
    .description("close one of them for good")
    .argument("<id>")
    .option("--reason <text>", "why, for the books", "")
    .addOption(urlOption())
    .action(async (id: string, { url, reason }: { url?: string; reason: string }) => {
      await (await letters()).discardDeadLetter(processTerminal(), gatewayUrl(env, url), id, reason);
    });
}

function addDoctor(program: Command, env: Env): void {
  program
    .command("doctor")
    .description(
      "look for what is wrong, and name the command that mends it; exit code 1 if there is a problem",
    )
    .addOption(urlOption())
    .option("--nats <url>", "NATS server; default: NATS_URL, else this folder's npm start, else port 4222")
    .addOption(
      new Option(
        "--monitor <url>",
        "monitoring port of that server; default: the embedded one's, else port 8222 beside it",
      ).argParser(baseUrl),
    )
    .option("--json", "the findings as JSON", false)
    .action(async (flags: { url?: string; nats?: string; monitor?: string; json: boolean }) => {
      const { doctor } = await import("./doctor.ts");
      const client = readConfig(clientSettings, env);
      const { dataDir } = client;
      // A system elsewhere says nothing about ports and disks of this machine.
      const isHere = [flags.url, flags.nats, client.url, client.natsUrl].every((it) => it === undefined);
      const options = {
        url: gatewayUrl(env, flags.url),
        natsUrl: flags.nats ?? client.natsUrl ?? findEndpoint(dataDir).natsUrl,
        credentials: client,
        monitorUrl: flags.monitor,
        dataDir,
        port: isHere ? readConfig(devSettings, env).port : undefined,
        env,
      };
      await doctor(processTerminal(), options, flags.json);
    });
}
