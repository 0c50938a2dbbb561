import { expect, it } from "vitest";
import { sortOf } from "./traffic.ts";

it.each([
  ["$KV.actors.order.demo.ord_1", "record order"],
  ["$KV.actors.analytics.demo.customer-EUR-ada", "record analytics customer"],
  ["$KV.actors.analytics.demo.top-products-EUR", "record analytics top-products"],
  ["$KV.actors.list.demo.orders-0-12", "record list orders"],
  ["$KV.actors.mark.core.1", "record mark"],
  ["$KV.leases.core.w1", "lease"],
  ["ev.demo.order.ord_1.order_placed", "event order_placed"],
  ["log.core.3", "commit core"],
  ["inbox.core.3", "inbox"],
  ["task.payment.bundle.core-1.x", "tasks payment, bundle"],
  ["task.payment.demo.ord_1.x", "task payment"],
  ["timer.core.0.order.demo.ord_1.arm", "schedule order"],
])("%s is of the sort %s", (subject, sort) => {
  expect(sortOf(subject)).toBe(sort);
});
