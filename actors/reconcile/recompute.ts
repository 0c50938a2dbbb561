import type { OrderState } from "../../proto/gen/tradewind/actors/order/v1/order_state_pb.ts";
import { book, bookOrder, type Figures } from "../shared/order-figures.ts";

/** Figures by record: what the projection `analytics` should hold, computed from the orders alone. */
export class ExpectedAnalytics {
  readonly records = new Map<string, Figures>();

  add(order: OrderState): void {
    bookOrder(this.records, order);
  }

  /** What archived orders added up to under a key. */
  addArchived(key: string, figures: Figures): void {
    book(this.records, key, figures);
  }

  /** Scores by ranking, such as `top-products-EUR/units`, and id. */
  rankings(): Map<string, Map<string, bigint>> {
    const rankings = new Map<string, Map<string, bigint>>();
    const score = (ranking: string, id: string, value: bigint) => {
      const scores = rankings.get(ranking) ?? new Map<string, bigint>();
      rankings.set(ranking, scores.set(id, value));
    };
    for (const [key, figures] of this.records) {
      const [, kind = "", currency = "", id = ""] = KEY.exec(key) ?? [];
      const of = (name: string) => figures[name] ?? 0n;
      if (kind === "customer") score(`top-customers-${currency}/spent`, id, of("gross") - of("refunds"));
      if (kind !== "product") continue;
      score(`top-products-${currency}/revenue`, id, of("revenue") - of("revenueRefunded"));
      score(`top-products-${currency}/units`, id, of("units") - of("unitsReturned"));
    }
    return rankings;
  }
}

/** `product-EUR-<id>`: a currency has no hyphen, an id may have some. */
const KEY = /^(customer|product)-([^-]*)-(.*)$/;
