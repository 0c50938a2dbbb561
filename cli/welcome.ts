/** What `npm start` prints. */
export interface WelcomeFacts {
  readonly url: string;
  readonly natsUrl: string;
  readonly natsMonitorUrl: string | undefined;
  readonly adminUrl: string;
  readonly pspUrl: string;
  readonly dataDir: string;
  readonly readyMs: number;
}

/** A command to copy, with what it shows. */
export interface Recipe {
  readonly title: string;
  readonly command: string;
}

const PLACE = "tradewind.order.v1.OrderService/PlaceOrder";

function placeCommand(url: string, order: object): string {
  return `curl -s ${url}/${PLACE} -H 'content-type: application/json' -d '${JSON.stringify(order)}'`;
}

/** Commands that a newcomer tries first. The README shows the same ones; a test compares and runs them. */
export function curlRecipes(url: string): readonly Recipe[] {
  const lines = [{ productId: "tea", quantity: 2 }];
  const order = { customerId: "ada", lines };
  const settled = { ...order, payment: { methodToken: "tok_ok" }, wait: "WAIT_SETTLED" };
  return [
    { title: "place an order and wait until it is settled", command: placeCommand(url, settled) },
    {
      title: "a payment that is declined: the order is rejected, its stock is back",
      command: placeCommand(url, { ...settled, payment: { methodToken: "tok_decline" } }),
    },
    { title: "watch all orders (Ctrl-C ends it)", command: `curl -sN ${url}/v1/orders:watch` },
    { title: "watch the totals move", command: `curl -sN ${url}/v1/analytics/total-sales:watch` },
  ];
}

/** Commands that look inside, with the `nats` CLI and with ours. */
export function insideRecipes(natsUrl: string): readonly Recipe[] {
  const nats = `nats -s ${natsUrl}`;
  return [
    { title: "streams, with what they are for", command: `${nats} stream ls` },
    { title: "events as they happen", command: `${nats} sub 'ev.demo.>'` },
    { title: "keys of all records", command: `${nats} kv ls actors` },
    { title: "one record", command: `${nats} kv get actors stock.demo.tea` },
    { title: "the same as JSON", command: "npm run -s tradewind -- inspect actors stock.demo.tea" },
  ];
}

/** The lines of the greeting. */
export function welcomeLines(facts: WelcomeFacts): string[] {
  const { url, natsUrl, natsMonitorUrl, adminUrl, pspUrl, dataDir, readyMs } = facts;
  const recipes = (list: readonly Recipe[]) =>
    list.flatMap(({ title, command }) => [`  # ${title}`, `  ${command}`]);
  const monitor = natsMonitorUrl === undefined ? "" : `   monitor ${natsMonitorUrl}`;
  return [
    `Tradewind is ready after ${(readyMs / 1_000).toFixed(1)} s`,
    "",
    `  API       ${url}   (Connect, gRPC, gRPC-web, JSON, server-sent events)`,
    `  metrics   ${adminUrl}/metrics   probes /livez /readyz`,
    `  payments  ${pspUrl}/ledger   (the simulated provider's book)`,
    `  NATS      ${natsUrl}${monitor}`,
    `  data      ${dataDir}   (kept; npm start -- --fresh begins anew)`,
    "",
    "Try it:",
    ...recipes(curlRecipes(url)),
    "",
    "Look inside:",
    ...recipes(insideRecipes(natsUrl)),
    "",
    "Ctrl-C stops everything.",
  ];
}
