import { create } from "@bufbuild/protobuf";
import { type ErrorDetail, ErrorDetailSchema } from "../gen/loqui/v1/error_pb.ts";
import type { LoquiError } from "./errors.ts";

/** An error's structured part, as all protocols and the worker's socket carry it. */
export function errorDetail(error: LoquiError): ErrorDetail {
  return create(ErrorDetailSchema, {
    kind: error.kind,
    type: error.type,
    code: error.code ?? "",
    ...(error.param !== undefined && { param: error.param }),
    ...(error.retryAfterMs !== undefined && { retryAfterMs: Math.ceil(error.retryAfterMs) }),
    ...(error.promptTokens !== undefined && { promptTokens: error.promptTokens }),
    ...(error.contextLength !== undefined && { contextLength: error.contextLength }),
  });
}
