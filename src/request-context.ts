import { randomUUID } from "node:crypto";
import { allScopes, type Scope } from "./access/scopes.ts";
import type { LoquiError } from "./errors.ts";

/** The protocols that a request can come in by. */
export type Protocol = "rest" | "grpc" | "grpc-web" | "connect";

/** Who makes a call, as the gate has found. */
export interface Caller {
  /** The API key's id; absent where none was asked for. */
  readonly keyId?: string;
  /** Caches are shared within a tenant only. Empty for callers without a key. */
  readonly tenant: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Charges the tokens of a call that has ended to the caller's rate limit. Does not throw. */
  charge(tokens: number): void;
}

/** Whoever calls where nothing asks for a key. */
export const anyone: Caller = { tenant: "", scopes: allScopes, charge: () => {} };

/**
 * What travels with a call beside its messages: HTTP headers, or gRPC's
 * metadata. The value of a name that ends in `-bin` is base64.
 */
export interface CallMetadata {
  /** What the client sent. */
  readonly request: Headers;
  /** Sent with the first response message or the error, whichever comes first; what is set later is not sent. */
  readonly response: Headers;
  /** Sent after the last response message by gRPC, gRPC-Web and Connect. REST has no place for it and leaves it out. */
  readonly trailer: Headers;
}

/**
 * What is known of a call beside its message. Made by the protocol adapters,
 * handed to every service, gateway and backend.
 */
export interface RequestContext {
  /** From `x-request-id` where the client sent a sane one, else made here. */
  readonly requestId: string;
  readonly protocol: Protocol;
  /** As gRPC names it: `loqui.v1.ChatService/CreateChatCompletion`. */
  readonly method: string;
  /** The API key's id; absent where none is asked for. */
  readonly keyId?: string;
  /** Caches are shared within a tenant only. Empty where none is configured. */
  readonly tenant: string;
  /** What the caller may do; the method's own scope has been checked. */
  readonly scopes: ReadonlySet<Scope>;
  /** End of the call's time, on the clock of `performance.now()`. */
  readonly deadline?: number;
  /** The W3C trace context that the client sent. */
  readonly traceparent?: string;
  readonly metadata: CallMetadata;
  /**
   * Aborted when the client is gone, the deadline has passed or the server
   * ends; the reason is a {@link LoquiError}. Not aborted by completion.
   */
  readonly signal: AbortSignal;
  /** Filled in on the way; handed to the logs when the call ends. */
  readonly record: RequestRecord;
}

/** What a call leaves behind: the source of logs, metrics, usage and routing. */
export interface RequestRecord {
  readonly requestId: string;
  readonly protocol: Protocol;
  readonly method: string;
  /** Unix time of arrival, in milliseconds. */
  readonly receivedAt: number;
  /** The API key's id; absent where none was asked for. */
  keyId?: string;
  /** The key's tenant; absent where none was asked for. */
  tenant?: string;
  /** The model that the client named. */
  model?: string;
  /** The id of the model that this names; absent where there is none of the name. */
  modelId?: string;
  /** The backend that answered, e.g. `worker:loqui/tiny-chat`. */
  backend?: string;
  promptTokens?: number;
  cachedTokens?: number;
  completionTokens?: number;
  /** Time in the queue before work began, in milliseconds. */
  queueMs?: number;
  /** From arrival to the first response message, in milliseconds. */
  firstMessageMs?: number;
  /** From arrival to the first token that was generated, in milliseconds. */
  firstTokenMs?: number;
  /** From the first token to the last, in milliseconds. */
  generationMs?: number;
  /** From arrival to the end, in milliseconds. */
  durationMs?: number;
  /** Number of attempts that failed before the one that counts. */
  retries?: number;
  outcome?: "ok" | LoquiError["kind"];
}

/** What a protocol adapter knows of a call when it hands it to the dispatcher. */
export interface IncomingCall {
  readonly protocol: Protocol;
  /** See {@link requestIdFrom}; the adapter sends it back as `x-request-id`. */
  readonly requestId: string;
  /** A request header's (or gRPC metadata's) value by its lower-case name. */
  header(name: string): string | undefined;
  /** Who calls. Default: {@link anyone}. */
  readonly caller?: Caller;
  readonly metadata: CallMetadata;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
  /** The client's deadline (`grpc-timeout`, `connect-timeout-ms`, `x-request-timeout`), from now, in milliseconds. */
  readonly timeoutMs?: number;
}

/** The client's request id where it is sane (up to 128 visible ASCII characters), else a new one. */
export function requestIdFrom(header: string | undefined): string {
  return header !== undefined && /^[\x21-\x7e]{1,128}$/.test(header) ? header : randomUUID();
}
