import { create } from "@bufbuild/protobuf";
import { type Failure, FailureSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import { errorDetail } from "../error-detail.ts";
import { isErrorKind, LoquiError } from "../errors.ts";
import { QueueFull } from "./scheduler.ts";

/** An error as it crosses the socket. What caused it stays in the worker's log. */
export function encodeFailure(error: LoquiError): Failure {
  return create(FailureSchema, {
    message: error.message,
    queueFull: error instanceof QueueFull,
    detail: errorDetail(error),
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
