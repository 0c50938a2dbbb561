/**
 * What a user might write instead: one Node process with PostgreSQL. An order is two calls of stored functions around
 * the charge, each a synced transaction; a call that is repeated with its key goes on where the first one ended. It
 * speaks as much of the API as the generator of the bench does, and checks its books as `Reconcile`.
 *
 * What it does not do: finish an order whose caller is gone, ask again a provider that does not answer, take over from
 * another process, refuse calls beyond what it can carry, tell a reused key from a repeated call, cancel and refund,
 * check requests, know tenants and users, publish events and watches, keep sales by product and day, and lists.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import pg from "pg";
import { createMemoryProvider } from "../../actors/payment/provider-memory.ts";
import { PaymentSimulator } from "../../actors/shared/payment-simulator.ts";
import { API } from "../../cli/api-paths.ts";
import { systemClock } from "../../platform/clock.ts";

const { DATABASE_URL: connectionString, PORT } = process.env;
// Of 8, 16 and 32 connections 8 do best on two cores, in orders and in CPU.
const pool = new pg.Pool({ connectionString, max: 8, idleTimeoutMillis: 0 });
const provider = createMemoryProvider(new PaymentSimulator({ clock: systemClock }));
const { signal } = new AbortController();

type Order = Readonly<Record<"id" | "state" | "reason" | "total", string>>;

interface PlaceOrder {
  readonly customerId: string;
  readonly lines: readonly { readonly productId: string; readonly quantity: number }[];
  readonly payment: { readonly methodToken: string };
}

async function placeOrder({ customerId, lines, payment: { methodToken } }: PlaceOrder, key: string) {
  const sorted = lines.toSorted((a, b) => (a.productId < b.productId ? -1 : 1));
  const [products, quantities] = [sorted.map((line) => line.productId), sorted.map((line) => line.quantity)];
  const values = [key, customerId, products, quantities, methodToken];
  const place = { name: "place", text: "SELECT * FROM place($1, $2, $3, $4, $5)", values };
  const { rows } = await pool.query<Order>(place).catch((error: unknown) => {
    if ((error as pg.DatabaseError).constraint !== "orders_request_id_key") throw error;
    return pool.query<Order>("SELECT id, state, reason, total FROM orders WHERE request_id = $1", [key]);
  });
  const placed = rows[0] as Order;
  const { state, reason } = placed.state === "HELD" ? await charge(placed, methodToken) : placed;
  const order = {
    orderId: placed.id,
    customerId,
    status: `ORDER_STATUS_${state}`,
    reason: { code: `ORDER_REASON_CODE_${reason}` },
    lines,
    total: { currencyCode: "EUR", minorUnits: placed.total },
  };
  return { order, waitReached: true };
}

/** Authorises, captures, settles. The provider knows the keys, so that it may be repeated. */
async function charge({ id, total }: Order, methodToken: string): Promise<Pick<Order, "state" | "reason">> {
  const money = { amount: BigInt(total), currency: "EUR" };
  const { status } = await provider.authorize({ key: id, methodToken, ...money }, signal);
  const capture = { key: `${id}-capture`, authorizationKey: id, ...money };
  const isCaptured = status === "approved" && (await provider.capture(capture, signal)).status === "approved";
  await pool.query({ name: "settle", text: "SELECT settle($1, $2)", values: [id, isCaptured] });
  return isCaptured
    ? { state: "CONFIRMED", reason: "UNSPECIFIED" }
    : { state: "REJECTED", reason: "PAYMENT_DECLINED" };
}

interface Product extends Readonly<Record<"productId" | "name" | "taxRateBp" | "initialStock", string>> {
  readonly price: { readonly minorUnits: string };
}

async function createProduct({ productId, name, price, taxRateBp, initialStock }: Product) {
  const values = [productId, name, price.minorUnits, taxRateBp, initialStock];
  await pool.query("INSERT INTO products VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING", values);
  return {};
}

async function getStock({ productId }: Product) {
  const text = `SELECT available, now() AS "updatedAt" FROM products WHERE id = $1`;
  return { stock: (await pool.query(text, [productId])).rows[0] as unknown };
}

async function reconcile() {
  const { rows } = await pool.query<{ name: string }>("SELECT name FROM differences");
  const verdict = `RECONCILE_VERDICT_${rows.length === 0 ? "CLEAN" : "DIFFERENT"}`;
  return { verdict, checks: rows.map(({ name }) => ({ name, verdict })) };
}

const routes = new Map<string | undefined, (body: never, key: string) => Promise<object>>([
  [API.placeOrder, placeOrder],
  [API.createProduct, createProduct],
  [API.getStock, getStock],
  ["/tradewind.ops.v1.OpsService/Reconcile", reconcile],
]);

await pool.query(readFileSync(new URL("postgres.sql", import.meta.url), "utf8"));
const server = createServer((request, response) => {
  const answer = (status: number, value: object) => {
    response.statusCode = status;
    response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  };
  let text = "";
  request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  request.once("end", () => {
    const route = routes.get(request.url);
    if (route === undefined) return answer(404, { code: "unimplemented" });
    const result = route(JSON.parse(text) as never, String(request.headers["idempotency-key"]));
    result.then(
      (value) => answer(200, value),
      (error: unknown) => answer(500, { code: "internal", message: String(error) }),
    );
  });
});
server.listen(Number(PORT), "127.0.0.1");
