import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LoquiError } from "../../../src/errors.ts";
import type { RequestContext } from "../../../src/request-context.ts";
import { implement } from "../../../src/services/handlers.ts";
import { EmptySchema } from "../gen/grpc/testing/empty_pb.ts";
import {
  type EchoStatus,
  type Payload,
  type PayloadSchema,
  SimpleResponseSchema,
  StreamingInputCallResponseSchema,
  type StreamingOutputCallRequest,
  StreamingOutputCallResponseSchema,
} from "../gen/grpc/testing/messages_pb.ts";
import { TestService } from "../gen/grpc/testing/test_pb.ts";
import { sleep, statusError } from "../serve.ts";

/**
 * The server's side of gRPC's interop cases (grpc/doc/interop-test-descriptions.md).
 * `unimplementedCall` has no handler on purpose, and UnimplementedService is not served.
 */
export const testService = implement(TestService, {
  emptyCall: async () => create(EmptySchema),

  async unaryCall(request, context) {
    echoMetadata(context);
    throwStatus(request.responseStatus);
    // Whether a message was compressed is not shown to handlers; for a single one the header tells.
    if (request.expectCompressed?.value === true && context.metadata.request.get("grpc-encoding") !== "gzip") {
      throw new LoquiError("invalid_request", "the request is not compressed");
    }
    return create(SimpleResponseSchema, { payload: payload(request.responseSize) });
  },

  async *streamingOutputCall(request, context) {
    yield* outputs(request, context);
    throwStatus(request.responseStatus);
  },

  async streamingInputCall(requests) {
    let aggregatedPayloadSize = 0;
    for await (const request of requests) aggregatedPayloadSize += sizeOf(request.payload);
    return create(StreamingInputCallResponseSchema, { aggregatedPayloadSize });
  },

  async *fullDuplexCall(requests, context) {
    echoMetadata(context);
    for await (const request of requests) {
      throwStatus(request.responseStatus);
      yield* outputs(request, context);
    }
  },

  async *halfDuplexCall(requests, context) {
    echoMetadata(context);
    for (const request of await Array.fromAsync(requests)) yield* outputs(request, context);
  },
});

async function* outputs(request: StreamingOutputCallRequest, context: RequestContext) {
  for (const { size, intervalUs } of request.responseParameters) {
    if (intervalUs > 0) await sleep(intervalUs / 1000, context.signal);
    yield create(StreamingOutputCallResponseSchema, { payload: payload(size) });
  }
}

const maxPayloadBytes = 16 << 20;

function payload(size: number): MessageInitShape<typeof PayloadSchema> {
  if (size >= 0 && size <= maxPayloadBytes) return { body: new Uint8Array(size) };
  throw new LoquiError("invalid_request", `size ${size} is not between 0 and ${maxPayloadBytes}`);
}

function sizeOf(received: Payload | undefined): number {
  return received?.body.length ?? 0;
}

function echoMetadata({ metadata }: RequestContext): void {
  const initial = metadata.request.get("x-grpc-test-echo-initial");
  if (initial !== null) metadata.response.set("x-grpc-test-echo-initial", initial);
  const trailing = metadata.request.get("x-grpc-test-echo-trailing-bin");
  if (trailing !== null) metadata.trailer.set("x-grpc-test-echo-trailing-bin", trailing);
}

function throwStatus(status: EchoStatus | undefined): void {
  if (status !== undefined && status.code !== 0) throw statusError(status.code, status.message);
}
