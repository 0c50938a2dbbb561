import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Health as ProcessHealth } from "../platform/health.ts";
import {
  type Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../proto/gen/grpc/health/v1/health_pb.ts";

/**
 * grpc.health.v1: every service serves while the process is ready; an empty name asks for the process. Watch sends the
 * state now and each change of it, and ends only at a drain.
 */
export function grpcHealth(
  health: ProcessHealth,
  serviceNames: ReadonlySet<string>,
): ServiceImpl<typeof Health> {
  const isKnown = (service: string) => service === "" || serviceNames.has(service);
  const now = () => (health.isReady() ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
  return {
    check: ({ service }) => {
      if (!isKnown(service)) throw new ConnectError(`there is no service ${service}`, Code.NotFound);
      return { status: now() };
    },
    list: () => ({
      statuses: Object.fromEntries(["", ...serviceNames].map((name) => [name, { status: now() }])),
    }),
    async *watch({ service }, { signal }) {
      let sent: ServingStatus | undefined;
      while (!signal.aborted) {
        const changed = nextChange(health, signal);
        const status = isKnown(service) ? now() : ServingStatus.SERVICE_UNKNOWN;
        if (status !== sent) yield { status };
        sent = status;
        await changed;
      }
      throw signal.reason;
    },
  };
}

function nextChange(health: ProcessHealth, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      off();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const off = health.onChange(done);
    signal.addEventListener("abort", done, { once: true });
  });
}
