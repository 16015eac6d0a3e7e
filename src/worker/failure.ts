import { create } from "@bufbuild/protobuf";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { type Failure, FailureSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import { isErrorKind, LoquiError } from "../errors.ts";
import { QueueFull } from "./scheduler.ts";

/** An error as it crosses the socket. What caused it stays in the worker's log. */
export function encodeFailure(error: LoquiError): Failure {
  return create(FailureSchema, {
    message: error.message,
    queueFull: error instanceof QueueFull,
    detail: create(ErrorDetailSchema, {
      kind: error.kind,
      type: error.type,
      code: error.code ?? "",
      ...(error.param !== undefined && { param: error.param }),
      ...(error.retryAfterMs !== undefined && { retryAfterMs: Math.ceil(error.retryAfterMs) }),
      ...(error.promptTokens !== undefined && { promptTokens: error.promptTokens }),
      ...(error.contextLength !== undefined && { contextLength: error.contextLength }),
    }),
  });
}

/** The error that a worker sent. */
export function decodeFailure({ message, detail }: Failure): LoquiError {
  const kind = detail?.kind ?? "";
  return new LoquiError(isErrorKind(kind) ? kind : "internal", message, {
    ...(detail?.code && { code: detail.code }),
    ...(detail?.param !== undefined && { param: detail.param }),
    ...(detail?.retryAfterMs !== undefined && { retryAfterMs: detail.retryAfterMs }),
    ...(detail?.promptTokens !== undefined && { promptTokens: detail.promptTokens }),
    ...(detail?.contextLength !== undefined && { contextLength: detail.contextLength }),
  });
}
