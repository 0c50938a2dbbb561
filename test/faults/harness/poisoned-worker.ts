/**
 * Loaded into a worker by NODE_OPTIONS=--import. While the file POISON_FILE exists, the handler of PlaceOrder
 * throws, or ends the process, at orders whose metadata ask for it: a defect as a new build may bring it.
 */
import { existsSync } from "node:fs";
import { orderActor } from "../../../actors/order/order-actor.ts";

const file = process.env["POISON_FILE"] ?? "";
const place = orderActor.handlers.get("Place");
if (place === undefined) throw new Error("the order actor has no handler Place");
(orderActor.handlers as Map<string, typeof place>).set("Place", {
  ...place,
  run: (ctx, message) => {
    const { metadata } = message as unknown as { metadata: Readonly<Record<string, string>> };
    const poison = metadata["poison"];
    if (poison !== undefined && existsSync(file)) {
      if (poison === "kills") process.kill(process.pid, "SIGKILL");
      if (poison === "throws") throw new Error("this handler has a defect");
    }
    return place.run(ctx, message);
  },
});
