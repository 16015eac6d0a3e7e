import { LoquiError } from "../../errors.ts";

export interface AdmissionLimits {
  /** Calls that may wait for the worker to load, or to be started again. */
  readonly calls: number;
  /** Bytes of their requests together; the first may have any number. */
  readonly bytes: number;
}

/** Decides about calls before the worker is asked. */
export interface Admission {
  /**
   * Counts a call as waiting for the worker, until the function that it returns
   * is called. Throws `overloaded` where too many wait, and what a tenant was
   * told by {@link refused} as long as that holds.
   */
  enter(tenant: string, bytes: number): () => void;
  /**
   * The worker has no room for anything of this tenant. Holds until a call ends,
   * which may make room, but no longer than {@link holdMs}: a sequence becomes
   * free unseen when its answer is still on the way to a slow reader. It spares
   * the worker a connection and a message for each call that it can't take.
   */
  refused(tenant: string, error: LoquiError): void;
  /** A call has ended that the worker had not refused. */
  ended(): void;
}

/** How long a refusal is repeated at most. */
export const holdMs = 100;

export function createAdmission(limits: AdmissionLimits): Admission {
  let calls = 0;
  let bytes = 0;
  const refusals = new Map<string, { readonly error: LoquiError; readonly until: number }>();

  return {
    enter(tenant, size) {
      const refusal = refusals.get(tenant);
      if (refusal !== undefined && performance.now() < refusal.until) {
        const { message, retryAfterMs = 1_000 } = refusal.error;
        throw new LoquiError("overloaded", message, { retryAfterMs });
      }
      if (calls >= limits.calls) {
        throw overloaded(`${calls} requests wait for it to load, the maximum is ${limits.calls}`);
      }
      if (calls > 0 && bytes + size > limits.bytes) {
        throw overloaded(
          `${bytes} bytes of requests wait for it to load, with this request's ${size} they would exceed the maximum ${limits.bytes}`,
        );
      }
      calls += 1;
      bytes += size;
      let left = false;
      return () => {
        if (left) return;
        left = true;
        calls -= 1;
        bytes -= size;
      };
    },
    refused(tenant, error) {
      refusals.set(tenant, { error, until: performance.now() + holdMs });
    },
    ended() {
      refusals.clear();
    },
  };
}

function overloaded(why: string): LoquiError {
  return new LoquiError("overloaded", `the model is overloaded: ${why}`, { retryAfterMs: 5_000 });
}
