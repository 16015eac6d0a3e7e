/**
 * The one table of errors: what each kind is on gRPC, on HTTP and in OpenAI's
 * error object. Everything that can go wrong in loqui is thrown as a
 * {@link LoquiError} of one of these kinds and mapped to a protocol in one
 * place per protocol.
 */

/** gRPC status codes (grpc/doc/statuscodes.md), as numbers. */
export const grpcCode = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

interface ErrorRow {
  /** gRPC and Connect status code. */
  readonly grpc: number;
  /** HTTP status of a REST response. */
  readonly http: number;
  /** OpenAI's `type`. */
  readonly type: string;
  /** OpenAI's `code`, unless the error carries one of its own. */
  readonly code: string | null;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
}

const table = {
  invalid_request: row(grpcCode.invalidArgument, 400, "invalid_request_error", null, false),
  context_too_long: row(grpcCode.invalidArgument, 400, "invalid_request_error", "context_length_exceeded", false),
  unauthenticated: row(grpcCode.unauthenticated, 401, "authentication_error", "invalid_api_key", false),
  permission_denied: row(grpcCode.permissionDenied, 403, "permission_error", "insufficient_scope", false),
  host_refused: row(grpcCode.permissionDenied, 403, "permission_error", "host_not_allowed", false),
  origin_refused: row(grpcCode.permissionDenied, 403, "permission_error", "origin_not_allowed", false),
  model_not_found: row(grpcCode.notFound, 404, "invalid_request_error", "model_not_found", false),
  not_found: row(grpcCode.notFound, 404, "invalid_request_error", "not_found", false),
  method_not_allowed: row(grpcCode.unimplemented, 405, "invalid_request_error", "method_not_allowed", false),
  too_large: row(grpcCode.resourceExhausted, 413, "invalid_request_error", "request_too_large", false),
  unsupported_media_type: row(grpcCode.invalidArgument, 415, "invalid_request_error", "unsupported_media_type", false),
  unsupported: row(grpcCode.failedPrecondition, 400, "invalid_request_error", "unsupported", false),
  input_quarantined: row(grpcCode.aborted, 422, "invalid_request_error", "input_quarantined", false),
  overloaded: row(grpcCode.resourceExhausted, 429, "rate_limit_error", "overloaded", true),
  rate_limited: row(grpcCode.resourceExhausted, 429, "rate_limit_error", "rate_limit_exceeded", true),
  cancelled: row(grpcCode.cancelled, 499, "invalid_request_error", "cancelled", false),
  unimplemented: row(grpcCode.unimplemented, 501, "server_error", "unimplemented", false),
  model_unavailable: row(grpcCode.unavailable, 503, "server_error", "model_unavailable", true),
  worker_crashed: row(grpcCode.unavailable, 503, "server_error", "worker_crashed", false),
  shutting_down: row(grpcCode.unavailable, 503, "server_error", "shutting_down", true),
  timeout: row(grpcCode.deadlineExceeded, 504, "server_error", "timeout", false),
  internal: row(grpcCode.internal, 500, "server_error", "internal", false),
} as const satisfies Record<string, ErrorRow>;

function row(grpc: number, http: number, type: string, code: string | null, retryable: boolean): ErrorRow {
  return { grpc, http, type, code, retryable };
}

/** A kind of error: a key of the table. */
export type ErrorKind = keyof typeof table;

/** A gRPC status: one that another server gave, or one of the protocol's own. */
export interface GrpcStatus {
  /** 1 to 16. */
  readonly code: number;
  /** Each a message of Protobuf: its full name and its bytes. */
  readonly details: readonly { readonly type: string; readonly value: Uint8Array }[];
}

/** What an error can carry beside its message. */
export interface ErrorFields {
  /** Path of the request field at fault, e.g. `messages[0].content`. */
  readonly param?: string;
  /** OpenAI's `code` where it says more than the kind's: the violated rule. */
  readonly code?: string;
  /** When trying again may help, in milliseconds from now. Default for retryable kinds: a second. */
  readonly retryAfterMs?: number;
  /** False where, unlike others of its kind, the same request can't succeed later. */
  readonly retryable?: boolean;
  /** For `context_too_long`: tokens of the prompt, or as many as it has at least: the message says which. */
  readonly promptTokens?: number;
  /** For `context_too_long`: tokens that fit. */
  readonly contextLength?: number;
  /** What gRPC, gRPC-Web and Connect send instead of the kind's code and its `loqui.v1.ErrorDetail`. */
  readonly status?: GrpcStatus;
  /** What caused it; logged, never sent. */
  readonly cause?: unknown;
}

/** Characters of a message and of a path: gRPC sends both in a header, and they may quote what a client sent. */
const mostMessage = 1024;
const mostParam = 256;

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/**
 * The one error class. The message is shown to the client: lower case, names
 * the parameter, the value and the limit, and holds no path of the server. A
 * long one is cut.
 */
export class LoquiError extends Error {
  override readonly name = "LoquiError";
  readonly kind: ErrorKind;
  readonly param: string | undefined;
  readonly code: string | null;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly promptTokens: number | undefined;
  readonly contextLength: number | undefined;
  readonly status: GrpcStatus | undefined;

  constructor(kind: ErrorKind, message: string, fields: ErrorFields = {}) {
    super(cut(message, mostMessage), fields.cause === undefined ? undefined : { cause: fields.cause });
    this.kind = kind;
    this.param = fields.param === undefined ? undefined : cut(fields.param, mostParam);
    this.code = fields.code ?? table[kind].code;
    this.retryable = fields.retryable ?? table[kind].retryable;
    this.retryAfterMs = fields.retryAfterMs ?? (this.retryable ? 1_000 : undefined);
    this.promptTokens = fields.promptTokens;
    this.contextLength = fields.contextLength;
    this.status = fields.status;
  }

  /** gRPC and Connect status code. */
  get grpc(): number {
    return this.status?.code ?? table[this.kind].grpc;
  }

  /** HTTP status of a REST response. */
  get http(): number {
    return table[this.kind].http;
  }

  /** OpenAI's `type`. */
  get type(): string {
    return table[this.kind].type;
  }
}

/** Whether a string (from another process) is a kind of this table. */
export function isErrorKind(kind: string): kind is ErrorKind {
  return Object.hasOwn(table, kind);
}

/**
 * Any thrown value as a {@link LoquiError}. An unknown one becomes `internal`
 * with a message that says nothing of the inside; the cause keeps it for the log.
 */
export function toLoquiError(error: unknown): LoquiError {
  if (error instanceof LoquiError) return error;
  if (error instanceof Error && error.name === "AbortError") {
    return error.cause instanceof LoquiError
      ? error.cause
      : new LoquiError("cancelled", "the request was cancelled", { cause: error });
  }
  return new LoquiError("internal", "internal error", { cause: error });
}

/** OpenAI's error object, as REST sends it: `{"error": {message, type, param, code}}`. */
export function openaiErrorBody(error: LoquiError): { error: Record<string, unknown>; detail?: string } {
  const body = {
    error: {
      message: error.message,
      type: error.type,
      param: error.param ?? null,
      code: error.code,
      ...(error.promptTokens !== undefined && { n_prompt_tokens: error.promptTokens }),
      ...(error.contextLength !== undefined && { n_ctx: error.contextLength }),
    },
  };
  return error.kind === "model_not_found" ? { ...body, detail: error.message } : body;
}
