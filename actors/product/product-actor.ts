import { createHash } from "node:crypto";
import { ClaimActor } from "../../proto/gen/tradewind/actors/claim/v1/claim_actor_pb.ts";
import {
  ProductActor,
  ProductCreatedSchema,
  ProductStateSchema,
  ProductStatus,
  ProductUpdatedSchema,
  type CreateProduct,
  type ProductState,
  type SkuOutcome,
  type UpdateProduct,
} from "../../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { StockActor } from "../../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import { defineActor, DomainError, type ActorContext } from "../runtime/index.ts";

type ProductContext = ActorContext<typeof ProductStateSchema>;

const CREATED = "CREATED";
/** A product that did not come to be is remembered as long as the key of its request. */
const REFUSED_TTL_SECONDS = 2 * 86_400;

/** One product: what it is called and costs. Its stock is another actor of the same key. */
export const productActor = defineActor(
  ProductActor,
  ProductStateSchema,
  { create, update, skuSettled },
  { creates: ["create"] },
);

function claimKey(sku: string): string {
  return `sku_${createHash("sha256").update(sku).digest("hex").slice(0, 40)}`;
}

/** @throws DomainError ALREADY_EXISTS */
function create(ctx: ProductContext, message: CreateProduct) {
  const { state, key } = ctx;
  if (state.status !== ProductStatus.UNSPECIFIED && state.status !== ProductStatus.REFUSED) {
    throw DomainError.of("ALREADY_EXISTS", `product ${key} exists`, { resource: "product", id: key });
  }
  const { name, description, price, currency, taxRateBp, safetyStock, lowStockThreshold, initialOnHand } =
    message;
  const sku = message.sku || key;
  const nowMs = BigInt(ctx.nowMs);
  Object.assign(state, {
    sku,
    name,
    description,
    price,
    currency,
    taxRateBp,
    safetyStock,
    lowStockThreshold,
  });
  Object.assign(state, { initialOnHand, createdMs: nowMs, updatedMs: nowMs, status: ProductStatus.CREATING });
  ctx.expireAfter(0);
  ctx.send(ClaimActor.method.takeSku, claimKey(sku), { sku, productId: key });
  return ctx.defer(CREATED);
}

function skuSettled(ctx: ProductContext, { granted, owner }: SkuOutcome) {
  const { state, key } = ctx;
  if (state.status !== ProductStatus.CREATING) return {};
  state.status = granted ? ProductStatus.ACTIVE : ProductStatus.REFUSED;
  if (granted) {
    const { sku, name, price, currency, initialOnHand: onHand, safetyStock, lowStockThreshold } = state;
    state.revision += 1n;
    if (!state.listed) ctx.list("products", {});
    state.listed = true;
    ctx.send(StockActor.method.open, key, { onHand, safetyStock, lowStockThreshold });
    ctx.emit(ProductCreatedSchema, { atMs: BigInt(ctx.nowMs), sku, name, price, currency });
  } else {
    ctx.expireAfter(REFUSED_TTL_SECONDS);
  }
  const { status } = state;
  ctx.resolve(CREATED, ProductActor.method.create, {
    status,
    product: state,
    skuOwner: granted ? "" : owner,
  });
  return {};
}

/** What each name of the mask changes. */
const FIELDS: Readonly<Record<string, (state: ProductState, to: UpdateProduct, nowMs: bigint) => void>> = {
  name: (state, { name }) => void (state.name = name),
  description: (state, { description }) => void (state.description = description),
  price: (state, { price }) => void (state.price = price),
  tax_rate_bp: (state, { taxRateBp }) => void (state.taxRateBp = taxRateBp),
  safety_stock: (state, { safetyStock }) => void (state.safetyStock = safetyStock),
  low_stock_threshold: (state, { lowStockThreshold }) => void (state.lowStockThreshold = lowStockThreshold),
  archived: (state, { archived }, nowMs) => {
    state.status = archived ? ProductStatus.ARCHIVED : ProductStatus.ACTIVE;
    state.archivedMs = archived ? state.archivedMs || nowMs : 0n;
  },
};

/**
 * Changes the named fields and no other.
 * @throws DomainError NOT_FOUND, ETAG_MISMATCH, CURRENCY_MISMATCH, VALIDATION
 */
function update(ctx: ProductContext, message: UpdateProduct) {
  const { state, key } = ctx;
  if (state.status !== ProductStatus.ACTIVE && state.status !== ProductStatus.ARCHIVED) {
    throw DomainError.of("NOT_FOUND", `there is no product ${key}`, { resource: "product", id: key });
  }
  const { updateMask, expectedRevision: expected, currency } = message;
  if (expected !== 0n && expected !== state.revision) {
    const metadata = { expected: String(expected), actual: String(state.revision) };
    throw DomainError.of("ETAG_MISMATCH", `product ${key} changed: read it again`, metadata);
  }
  if (currency !== "" && currency !== state.currency) {
    const metadata = { expected: state.currency, actual: currency };
    throw DomainError.of("CURRENCY_MISMATCH", `product ${key} is sold in ${state.currency}`, metadata);
  }
  for (const path of updateMask) {
    const change = Object.hasOwn(FIELDS, path) ? FIELDS[path] : undefined;
    if (change === undefined) {
      throw DomainError.of("VALIDATION", `${path} cannot be changed`, { field: `update_mask` });
    }
    change(state, message, BigInt(ctx.nowMs));
  }
  if (updateMask.length === 0) return { product: state };
  state.revision += 1n;
  state.updatedMs = BigInt(ctx.nowMs);
  if (updateMask.includes("safety_stock") || updateMask.includes("low_stock_threshold")) {
    const { safetyStock, lowStockThreshold } = state;
    ctx.send(StockActor.method.configure, key, { safetyStock, lowStockThreshold });
  }
  ctx.emit(ProductUpdatedSchema, { atMs: BigInt(ctx.nowMs), revision: state.revision, fields: updateMask });
  return { product: state };
}
