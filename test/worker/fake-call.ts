import type { WorkerCall } from "../../src/worker/method.ts";

/** A call whose messages go to `take`; what is composed, at the end of the task. */
export function fakeCall(take: (message: Uint8Array) => void, signal = new AbortController().signal): WorkerCall {
  return {
    requestId: "r",
    tenant: "",
    signal,
    progress: () => {},
    send: (...messages) => messages.forEach(take),
    sendComposed: (compose) => queueMicrotask(() => compose().forEach(take)),
  };
}
