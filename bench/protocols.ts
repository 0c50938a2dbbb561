import { Agent } from "node:http";
import { type Client, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import type { PlaceOrder } from "../cli/load-run.ts";
import { OrderService, Wait } from "../proto/gen/tradewind/order/v1/order_service_pb.ts";
import type { Generator } from "./generator.ts";
import { orderFigures, using } from "./measure.ts";
import { type Row, tellFailures, USUAL_ORDERS, warmGenerator } from "./row.ts";

const IN_FLIGHT = 64;
const TIMEOUT_MS = 25_000;
const WARM_UP_SHARE = 0.25;

/** One protocol with the client that its users have; the client's CPU is in the column of the generator. */
function protocolRow(
  name: string,
  about: string,
  transport: (baseUrl: string, agent: Agent) => Transport,
): Row {
  return {
    name: `protocol-${name}`,
    group: "protocols",
    about: `closed loop, ${IN_FLIGHT} in flight, ${about}`,
    run: async (context) => {
      const { system, seconds, tell } = context;
      const generator = await warmGenerator(context, USUAL_ORDERS);
      const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
      const place = placeBy(createClient(OrderService, transport(system.url, agent)), generator);
      try {
        tell(`warm-up by ${name}`);
        await generator.closedBy(place, IN_FLIGHT, seconds * 1_000 * WARM_UP_SHARE);
        tell(name);
        const [result, used] = await using(system, () =>
          generator.closedBy(place, IN_FLIGHT, seconds * 1_000),
        );
        tellFailures(result, tell);
        return orderFigures(result, used, system.memory());
      } finally {
        agent.destroy();
      }
    },
  };
}

function placeBy(client: Client<typeof OrderService>, generator: Generator): PlaceOrder {
  return async () => {
    const { customerId, lines, methodToken } = generator.nextOrder();
    try {
      const { order, waitReached } = await client.placeOrder(
        {
          requestId: generator.nextKey(),
          customerId,
          lines: [...lines],
          payment: { methodToken },
          wait: Wait.SETTLED,
        },
        { timeoutMs: TIMEOUT_MS },
      );
      if (!waitReached) return { ok: false, code: "wait_not_reached", message: "", retryAfterMs: 0 };
      return { ok: true, status: String(order?.status), reason: "", isReplayed: false };
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      return { ok: false, code: String(code), message: rawMessage, retryAfterMs: 0 };
    }
  };
}

/** The same orders by each protocol, all with the clients of connect-node. */
export const protocolRows: readonly Row[] = [
  protocolRow("connect-json", "Connect with JSON over HTTP/1.1", (baseUrl, agent) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false, nodeOptions: { agent } }),
  ),
  protocolRow("grpc", "gRPC over one HTTP/2 connection", (baseUrl) => createGrpcTransport({ baseUrl })),
  protocolRow("grpc-web", "gRPC-web over HTTP/1.1", (baseUrl, agent) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions: { agent } }),
  ),
];
