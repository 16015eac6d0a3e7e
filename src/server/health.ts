import { create, type MessageShape } from "@bufbuild/protobuf";
import {
  Health,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.ts";
import { LoquiError } from "../errors.ts";
import { implement, type ServiceImplementation } from "../services/handlers.ts";

/**
 * Whether the server, its services and its models can answer: what
 * `grpc.health.v1`, `/readyz` and `/health` tell.
 */
export interface ServerHealth {
  /** `grpc.health.v1.Health`. */
  readonly service: ServiceImplementation;
  /** Why the server can't answer yet or no more; undefined while it can. */
  readonly reason: string | undefined;
  /** The server can answer: its own name, `""`, and every service without a status of its own. */
  setReady(): void;
  /** The server can't answer; a short reason, shown at `/readyz`. */
  setNotReady(reason: string): void;
  /** The status of one name: a model's id, or a service. */
  set(name: string, serving: boolean): void;
  /** The name is known no more, or (a service) follows the server again. */
  unset(name: string): void;
  /** Nothing serves any more, for good. Watchers are told so, then their streams end. */
  shutDown(): void;
}

/** A health that is not ready, for reason `starting`. */
export function createHealth(services: readonly string[]): ServerHealth {
  const following = new Set(["", ...services, Health.typeName]);
  const own = new Map<string, Status>();
  const wake = new Set<() => void>();
  let reason: string | undefined = "starting";
  let down = false;

  function statusOf(name: string): Status | undefined {
    if (down && (own.has(name) || following.has(name))) return Status.NOT_SERVING;
    return own.get(name) ?? (following.has(name) ? serving(reason === undefined) : undefined);
  }

  function change(apply: () => void): void {
    if (down) return;
    apply();
    for (const watcher of [...wake]) watcher();
  }

  async function* watch(
    name: string,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<typeof HealthCheckResponseSchema>> {
    let sent: Status | undefined;
    let notify = () => {};
    const woken = () => notify();
    wake.add(woken);
    signal.addEventListener("abort", woken);
    try {
      for (;;) {
        signal.throwIfAborted();
        const status = statusOf(name) ?? Status.SERVICE_UNKNOWN;
        const changed = new Promise<void>((resolve) => {
          notify = resolve;
        });
        if (status !== sent) {
          sent = status;
          yield create(HealthCheckResponseSchema, { status });
        } else if (down) {
          throw new LoquiError("shutting_down", "the server is shutting down");
        } else {
          await changed;
        }
      }
    } finally {
      wake.delete(woken);
      signal.removeEventListener("abort", woken);
    }
  }

  return {
    service: implement(Health, {
      async check({ service }) {
        const status = statusOf(service);
        if (status === undefined) throw new LoquiError("not_found", `${service} is neither a service nor a model here`);
        return create(HealthCheckResponseSchema, { status });
      },
      watch: ({ service }, { signal }) => watch(service, signal),
      async list() {
        const names = [...following, ...own.keys()];
        const statuses = Object.fromEntries(
          names.map((name) => [name, create(HealthCheckResponseSchema, { status: statusOf(name) ?? Status.UNKNOWN })]),
        );
        return create(HealthListResponseSchema, { statuses });
      },
    }),
    get reason() {
      return reason;
    },
    setReady: () =>
      change(() => {
        reason = undefined;
      }),
    setNotReady: (why) =>
      change(() => {
        reason = why;
      }),
    set: (name, isServing) => change(() => own.set(name, serving(isServing))),
    unset: (name) => change(() => own.delete(name)),
    shutDown: () =>
      change(() => {
        down = true;
        reason = "shutting down";
      }),
  };
}

function serving(is: boolean): Status {
  return is ? Status.SERVING : Status.NOT_SERVING;
}
