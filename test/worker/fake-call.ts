import type { CallResult, WorkerCall } from "../../src/worker/method.ts";

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

/** The last messages of a call, each whole. */
export function lastOf(result: CallResult | undefined): Uint8Array[] {
  return (result?.last ?? []).map((message) => (message instanceof Uint8Array ? message : Buffer.concat(message)));
}
