export {
  type ResolvedServer,
  type ResolveOptions,
  NatsServerMissingError,
  resolveNatsServer,
} from "./resolve.ts";
export {
  type NatsServer,
  NatsServerStartError,
  type PortChoice,
  startNatsServer,
  type StartOptions,
} from "./server.ts";
export { StoreInUseError } from "./store-lock.ts";
