import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { sleep } from "../platform/clock.ts";
import {
  ProductActor,
  type ProductState,
  ProductStateSchema,
  ProductStatus,
  type UpdateProductSchema,
} from "../proto/gen/tradewind/actors/product/v1/product_actor_pb.ts";
import { StockStateSchema } from "../proto/gen/tradewind/actors/stock/v1/stock_actor_pb.ts";
import {
  type CatalogService,
  type CreateProductRequest,
  CreateProductRequestSchema,
  ListProductsRequestSchema,
  type ProductPatch,
  ProductPatchSchema,
  type UpdateProductRequest,
  UpdateProductRequestSchema,
} from "../proto/gen/tradewind/catalog/v1/catalog_service_pb.ts";
import { scopeOf } from "./call-scope.ts";
import { edgeError, fieldError, notFound } from "./connect-errors.ts";
import { identifyWrite } from "./idempotency.ts";
import { listRecords } from "./listing.ts";
import { decodePageToken, encodePageToken, pageSizeOf } from "./page-token.ts";
import { readRecord } from "./record-read.ts";
import { isProduct, PRODUCT_KIND } from "./product-cache.ts";
import { send, type ServiceDeps } from "./service-deps.ts";
import { productView, revisionOf } from "./views.ts";

/** After this the product is answered all the same: its stock is on its way. */
const STOCK_OPENS_MS_MAX = 2_000;
const STOCK_POLL_MS = 5;

/** Edge of the catalogue. */
export function catalogService(deps: ServiceDeps): ServiceImpl<typeof CatalogService> {
  const { client } = deps;
  return {
    createProduct: (request, context) => createProduct(deps, request, context),
    getProduct: async ({ productId }, context) => {
      const { tenant } = scopeOf(context);
      const state = await readRecord(client, PRODUCT_KIND, ProductStateSchema, { tenant, key: productId });
      if (!isProduct(state)) throw notFound("product", productId);
      return { product: productView(tenant, productId, state) };
    },
    listProducts: async (request, context) => {
      const { tenant } = scopeOf(context);
      const { items, next } = await listRecords(client, {
        tenant,
        list: "products",
        kind: PRODUCT_KIND,
        schema: ProductStateSchema,
        after: decodePageToken(ListProductsRequestSchema, request),
        pageSize: pageSizeOf(request),
        matchesEntry: () => true,
        matchesRecord: (state) =>
          isProduct(state) && (request.includeArchived || state.status !== ProductStatus.ARCHIVED),
      });
      return {
        products: items.map(({ id, state }) => productView(tenant, id, state)),
        nextPageToken: encodePageToken(ListProductsRequestSchema, request, next),
      };
    },
    updateProduct: (request, context) => updateProduct(deps, request, context),
  };
}

async function createProduct(deps: ServiceDeps, request: CreateProductRequest, context: HandlerContext) {
  const { tenant } = scopeOf(context);
  const identity = identifyWrite(CreateProductRequestSchema, request, context, deps.random);
  const key = request.productId || identity.actorKey("prd");
  const { name, description, price, taxRateBp, safetyStock, lowStockThreshold, initialStock } = request;
  const sku = request.sku || key;
  const message = {
    sku,
    name,
    description,
    price: price?.minorUnits ?? 0n,
    currency: price?.currencyCode ?? "",
    taxRateBp,
    safetyStock,
    lowStockThreshold,
    initialOnHand: initialStock,
  };
  const reply = await send(deps, context, { method: ProductActor.method.create, key, message, identity });
  const { status, product, skuOwner } = reply.message;
  if (status === ProductStatus.REFUSED) {
    const text = `the sku ${sku} belongs to product ${skuOwner}`;
    throw edgeError("SKU_TAKEN", text, { metadata: { sku, product_id: skuOwner } });
  }
  await stockOpened(deps, tenant, key, context.signal);
  return { product: productView(tenant, key, remembered(deps, tenant, key, product)) };
}

/** The stock opens by a message of its product, a moment later: whoever creates a product can sell it at once. */
async function stockOpened(
  { client, clock }: ServiceDeps,
  tenant: string,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const endMs = clock.monotonicMs() + STOCK_OPENS_MS_MAX;
  while (clock.monotonicMs() < endMs && !signal.aborted) {
    const stock = await readRecord(client, "stock", StockStateSchema, { tenant, key });
    if (stock?.opened === true) return;
    await sleep(clock, STOCK_POLL_MS, signal);
  }
}

/** What this process has written is in its cache before the answer goes out. */
function remembered(
  { products }: ServiceDeps,
  tenant: string,
  key: string,
  state: ProductState | undefined,
): ProductState {
  if (state === undefined)
    throw edgeError("INTERNAL", "internal error", { cause: new Error(`${key} has no state`) });
  products.put(tenant, key, state);
  return state;
}

async function updateProduct(deps: ServiceDeps, request: UpdateProductRequest, context: HandlerContext) {
  const { tenant } = scopeOf(context);
  const identity = identifyWrite(UpdateProductRequestSchema, request, context, deps.random);
  const message = changeOf(request);
  const { productId: key } = request;
  const reply = await send(deps, context, { method: ProductActor.method.update, key, message, identity });
  return { product: productView(tenant, key, remembered(deps, tenant, key, reply.message.product)) };
}

/** Fields that have no sensible default to be set to. */
const NOT_CLEARABLE: ReadonlySet<string> = new Set(["name", "price"]);

function changeOf(request: UpdateProductRequest): MessageInitShape<typeof UpdateProductSchema> {
  const patch: ProductPatch = request.product ?? ({} as ProductPatch);
  const given = ProductPatchSchema.fields.filter(
    (field) => patch[field.localName as keyof ProductPatch] !== undefined,
  );
  const present = given.map((field) => field.name);
  const mask = request.updateMask?.paths ?? present;
  checkMask(mask, present);
  const expectedRevision = request.etag === "" ? 0n : revisionOf(request.etag);
  if (expectedRevision === undefined) throw fieldError("etag", "is not an etag of a product", "etag.form");
  const {
    name = "",
    description = "",
    price,
    taxRateBp = 0,
    safetyStock = 0n,
    lowStockThreshold = 0n,
    archived = false,
  } = patch;
  return {
    updateMask: [...mask],
    expectedRevision,
    name,
    description,
    price: price?.minorUnits ?? 0n,
    currency: price?.currencyCode ?? "",
    taxRateBp,
    safetyStock,
    lowStockThreshold,
    archived,
  };
}

function checkMask(mask: readonly string[], present: readonly string[]): void {
  if (mask.length === 0) throw fieldError("product", "names no field to change", "update_mask.empty");
  for (const path of mask) {
    if (!ProductPatchSchema.fields.some((field) => field.name === path)) {
      throw fieldError("update_mask", `${path} is not a field that can be changed`, "update_mask.unknown");
    }
    if (NOT_CLEARABLE.has(path) && !present.includes(path)) {
      throw fieldError(
        `product.${path}`,
        "is named in update_mask and must have a value",
        "update_mask.value",
      );
    }
  }
  const extra = present.find((path) => !mask.includes(path));
  if (extra !== undefined) {
    throw fieldError(
      `product.${extra}`,
      "has a value but is not named in update_mask",
      "update_mask.missing",
    );
  }
}
