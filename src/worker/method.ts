import type { Parts } from "./frames.ts";

/** What a method of the worker knows of the call beside its request. */
export interface WorkerCall {
  readonly requestId: string;
  /** Whose request it is: prefixes in the KV cache are shared within a tenant only. */
  readonly tenant: string;
  /** Aborted when the front is gone or the deadline has passed. */
  readonly signal: AbortSignal;
  /** Tells what the call has taken so far: with each token, the first time before the message with it. */
  progress(totals: Pick<CallTotals, "promptTokens" | "completionTokens">): void;
  /**
   * Sends encoded response messages, in one write. Never waits: what a slow
   * reader leaves in the buffer is bounded by the context, and a sequence isn't
   * held for it.
   */
  send(...messages: Uint8Array[]): void;
  /** Like `send`, of the messages that `compose` makes when it is their turn to leave: it may join what came until then. */
  sendComposed(compose: () => readonly Uint8Array[]): void;
}

/** What a complete generation took; see `loqui.worker.v1.Complete`. */
export interface CallTotals {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly queueMs: number;
  readonly firstTokenMs: number;
  readonly generationMs: number;
}

/** How a call ended. */
export interface CallResult {
  /** The last messages, sent together with the end. Their bytes belong to the connection from then on. */
  readonly last: readonly Parts[];
  /** Absent where nothing was generated. */
  readonly totals?: CallTotals;
}

/** The worker's side of one rpc: encoded request in, encoded responses out. Throws LoquiErrors. */
export type WorkerMethod = (request: Uint8Array, call: WorkerCall) => Promise<CallResult>;

/** Methods by the name that gRPC gives them, e.g. `loqui.v1.ChatService/StreamChatCompletion`. */
export type WorkerMethods = ReadonlyMap<string, WorkerMethod>;
