import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescService,
  isMessage,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  type ContextValues,
  type ConnectRouter,
  createHandlerContext,
  type HandlerContext,
  type Interceptor,
  type MethodImpl,
  type ServiceImpl,
} from "@connectrpc/connect";
import type { Gate } from "./gate.ts";

/** One rpc and what answers it. */
export interface Rpc {
  readonly method: DescMethod;
  readonly run: (request: never, context: HandlerContext) => unknown;
}

/** All rpcs of a server: every service is registered here, and only what is here is served. */
export interface RpcTable {
  readonly services: readonly DescService[];
  readonly rpcs: readonly Rpc[];
  /** Adds a service with all of its methods. */
  add<S extends DescService>(service: S, implementation: ServiceImpl<S>): void;
}

export function createRpcTable(): RpcTable {
  const services: DescService[] = [];
  const rpcs: Rpc[] = [];
  return {
    services,
    rpcs,
    add: (service, implementation) => {
      services.push(service);
      for (const method of service.methods) {
        const run = (implementation as Record<string, Rpc["run"] | undefined>)[method.localName];
        if (run === undefined) throw new Error(`${service.typeName} has no implementation of ${method.name}`);
        rpcs.push({ method, run: run.bind(implementation) });
      }
    },
  };
}

/** What ends calls from outside: streams at a drain, unary calls at its deadline. */
export interface StopSignals {
  readonly streams: AbortSignal;
  readonly unary: AbortSignal;
}

/** Puts every rpc of the table on a Connect router. */
export function routeAll(router: ConnectRouter, table: RpcTable, stop: StopSignals): void {
  for (const { method, run } of table.rpcs) {
    const shutdownSignal = method.methodKind === "unary" ? stop.unary : stop.streams;
    router.rpc(method, run as unknown as MethodImpl<DescMethod>, { shutdownSignal });
  }
}

/** A call that does not come through a Connect protocol. */
export interface DirectCall {
  readonly url: string;
  readonly header: Headers;
  readonly signal: AbortSignal;
  readonly values: ContextValues;
}

/** Calls a server-streaming rpc in this process: same gate, same interceptors, no wire format. */
export async function openStream(
  rpc: Rpc & { readonly method: DescMethodServerStreaming },
  input: Message,
  call: DirectCall,
  { gate, interceptors, stop }: { gate: Gate; interceptors: readonly Interceptor[]; stop: StopSignals },
): Promise<AsyncIterable<Message>> {
  const { method } = rpc;
  const context = createHandlerContext({
    service: method.parent,
    method,
    protocolName: "sse",
    requestMethod: "GET",
    url: call.url,
    requestHeader: call.header,
    requestSignal: call.signal,
    shutdownSignal: stop.streams,
    contextValues: call.values,
  });
  const run = rpc.run as unknown as (request: Message, context: HandlerContext) => AsyncIterable<unknown>;
  const last: ReturnType<Interceptor> = async (request) => ({
    stream: true,
    service: method.parent,
    method,
    header: context.responseHeader,
    trailer: context.responseTrailer,
    message: whole(
      method.output,
      run(await single(request.message as AsyncIterable<Message>), { ...context, signal: request.signal }),
    ),
  });
  try {
    await gate(context);
    const invoke = interceptors.reduceRight((next, interceptor) => interceptor(next), last);
    const response = await invoke({
      stream: true,
      service: method.parent,
      method,
      requestMethod: "GET",
      url: call.url,
      signal: context.signal,
      header: context.requestHeader,
      contextValues: context.values,
      message: once(input),
    });
    return untilEnd(response.message as AsyncIterable<Message>, () => context.abort());
  } catch (thrown) {
    context.abort(thrown);
    throw thrown;
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

async function single<T>(values: AsyncIterable<T>): Promise<T> {
  for await (const value of values) return value;
  throw new Error("a stream call has no request message");
}

async function* whole(schema: DescMessage, values: AsyncIterable<unknown>): AsyncGenerator<Message> {
  for await (const value of values) {
    yield isMessage(value, schema) ? value : create(schema, value as MessageInitShape<DescMessage>);
  }
}

async function* untilEnd<T>(values: AsyncIterable<T>, end: () => void): AsyncGenerator<T> {
  try {
    yield* values;
  } finally {
    end();
  }
}
