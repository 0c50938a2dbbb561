import { expect, it } from "vitest";
import { faultRun, type Scene, SERVERS } from "../harness/fault-run.ts";
import { type Edit, otherBuild } from "../harness/other-build.ts";

const STOCK = "actors/stock/stock-actor.ts";
const ORDER = "actors/order/order-actor.ts";
const STOCK_PROTO = "proto/actors/tradewind/actors/stock/v1/stock_actor.proto";
const ORDER_PROTO = "proto/actors/tradewind/actors/order/v1/order_state.proto";

/** Orders remember which build took them: a field that the old build does not know. */
const NEW_FIELD: readonly Edit[] = [
  {
    path: ORDER_PROTO,
    find: "  int64 armed_ms = 33;\n",
    replace: "  int64 armed_ms = 33;\n  string build = 60;\n",
  },
  {
    path: ORDER,
    find: "  state.createdMs = BigInt(nowMs);\n",
    replace: '  state.createdMs = BigInt(nowMs);\n  state.build = "new";\n',
  },
];
/** Orders tell stock about themselves: an rpc that the old build does not know. */
const NEW_RPC: readonly Edit[] = [
  {
    path: STOCK_PROTO,
    find: "  rpc Adjust(AdjustUnits) returns (google.protobuf.Empty);\n",
    replace:
      "  rpc Adjust(AdjustUnits) returns (google.protobuf.Empty);\n" +
      "  rpc NoteInterest(google.protobuf.Empty) returns (google.protobuf.Empty);\n",
  },
  {
    path: STOCK_PROTO,
    find: "  int64 refused = 11;\n",
    replace: "  int64 refused = 11;\n  int64 interest = 60;\n",
  },
  { path: STOCK, find: "restock, adjust },", replace: "restock, adjust, noteInterest }," },
  {
    path: STOCK,
    find: "function availableOf(",
    replace:
      "function noteInterest({ state }: StockContext) {\n  state.interest += 1n;\n  return {};\n}\n\n" +
      "function availableOf(",
  },
  {
    path: ORDER,
    find: "  holdLines(ctx);\n  armDeadline(ctx);\n",
    replace:
      "  for (const { productId } of lines) ctx.send(StockActor.method.noteInterest, productId, {});\n" +
      "  holdLines(ctx);\n  armDeadline(ctx);\n",
  },
  {
    path: ORDER,
    find: 'defineActor, DomainError } from "../runtime/index.ts";\n',
    replace:
      'defineActor, DomainError } from "../runtime/index.ts";\n' +
      'import { StockActor } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";\n',
  },
];

/** Replaces the workers of a group one by one, while orders come. */
async function roll({ system, load, hit }: Scene, codeRoot: string | undefined, step: number): Promise<void> {
  for (const kind of ["core", "analytics"] as const) {
    for (const old of kind === "core" ? [...system.coreWorkers] : [...system.analyticsWorkers]) {
      await load.reached(load.finished + step);
      hit();
      await system.add(kind, {}, codeRoot);
      await old.stop();
      system.retire(old);
    }
  }
}

async function deadLetters({ system }: Scene): Promise<readonly string[]> {
  const page = await system.api.must<{ deadLetters?: { kind: string; reason: string; type: string }[] }>(
    "/tradewind.ops.v1.OpsService/ListDeadLetters",
    { pageSize: 500 },
  );
  return (page.deadLetters ?? []).map(({ kind, reason, type }) => `${kind} ${type} ${reason}`);
}

it.each(SERVERS)("rolls to a build with another contract and back, under load, R%i", async (servers) => {
  using build = await otherBuild(NEW_FIELD);
  await faultRun({
    name: "rolling restart to a build with a new field, and back",
    servers,
    load: { orders: 2_000, seed: 1_101, ratePerS: 60 },
    faults: async (scene) => {
      await roll(scene, build.codeRoot, 120);
      await roll(scene, undefined, 120);
    },
    after: async (scene) => expect(await deadLetters(scene)).toEqual([]),
  });
});

it.each(SERVERS)(
  "rolls to a build with a new rpc: what the old build does not know waits for the new one, R%i",
  async (servers) => {
    using build = await otherBuild([...NEW_FIELD, ...NEW_RPC]);
    await faultRun({
      name: "rolling restart to a build with a new rpc",
      servers,
      coreWorkers: 3,
      load: { orders: 1_500, seed: 1_102, ratePerS: 60 },
      faults: async (scene) => roll(scene, build.codeRoot, 150),
      after: async (scene) => expect(await deadLetters(scene)).toEqual([]),
    });
  },
);

it.each(SERVERS)("rolls gateways under load, R%i", async (servers) => {
  await faultRun({
    name: "rolling SIGTERM of both gateways",
    servers,
    gateways: 2,
    load: { orders: 1_000, seed: 1_103, ratePerS: 80 },
    faults: async ({ system, load, hit }) => {
      for (const gateway of system.gateways) {
        await load.reached(load.finished + 200);
        hit();
        expect(await gateway.stop(), "exit code of a drained gateway").toBe(0);
        await gateway.start();
        await gateway.ready();
      }
    },
  });
});
