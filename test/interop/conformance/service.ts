import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import type { LoquiError } from "../../../src/errors.ts";
import type { RequestContext } from "../../../src/request-context.ts";
import { implement } from "../../../src/services/handlers.ts";
import {
  BidiStreamRequestSchema,
  BidiStreamResponseSchema,
  ClientStreamRequestSchema,
  ClientStreamResponseSchema,
  type ConformancePayload,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  ConformancePayloadSchema,
  ConformanceService,
  type Error as ErrorDefinition,
  type Header,
  IdempotentUnaryRequestSchema,
  IdempotentUnaryResponseSchema,
  ServerStreamRequestSchema,
  ServerStreamResponseSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
  UnaryResponseSchema,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { sleep, statusError } from "../serve.ts";

/**
 * The service that connectrpc/conformance calls: each request says how it is to
 * be answered, and each answer says what was seen of the request. `unimplemented`
 * has no handler on purpose. What is to be done stands at each method in
 * service.proto.
 */
export const conformanceService = implement(ConformanceService, {
  async unary(request, context) {
    return create(UnaryResponseSchema, {
      payload: await answer(request.responseDefinition, context, [anyPack(UnaryRequestSchema, request)]),
    });
  },

  async idempotentUnary(request, context) {
    return create(IdempotentUnaryResponseSchema, {
      payload: await answer(request.responseDefinition, context, [anyPack(IdempotentUnaryRequestSchema, request)]),
    });
  },

  async clientStream(requests, context) {
    let definition: UnaryResponseDefinition | undefined;
    const seen: Any[] = [];
    for await (const request of requests) {
      if (seen.length === 0) definition = request.responseDefinition;
      seen.push(anyPack(ClientStreamRequestSchema, request));
    }
    return create(ClientStreamResponseSchema, { payload: await answer(definition, context, seen) });
  },

  async *serverStream(request, context) {
    const definition = request.responseDefinition;
    const seen = [anyPack(ServerStreamRequestSchema, request)];
    for await (const payload of answers(definition, context, () => seen.splice(0))) {
      yield create(ServerStreamResponseSchema, { payload });
    }
  },

  async *bidiStream(requests, context) {
    const iterator = requests[Symbol.asyncIterator]();
    const seen: Any[] = [];
    const read = async () => {
      const { done, value } = await iterator.next();
      if (done === true) return undefined;
      seen.push(anyPack(BidiStreamRequestSchema, value));
      return value;
    };
    const first = await read();
    if (first === undefined) return;
    if (!first.fullDuplex) while ((await read()) !== undefined);
    let sent = 0;
    for await (const payload of answers(first.responseDefinition, context, () => seen.splice(0))) {
      yield create(BidiStreamResponseSchema, { payload });
      sent += 1;
      // One request for one response; when the client has ended, the rest of the responses follow.
      if (first.fullDuplex && sent < (first.responseDefinition?.responseData.length ?? 0)) await read();
    }
  },
});

/** The one answer to a call, or its error. */
async function answer(
  definition: UnaryResponseDefinition | undefined,
  context: RequestContext,
  requests: Any[],
): Promise<ConformancePayload> {
  const requestInfo = requestInfoOf(context, requests);
  if (definition === undefined) return create(ConformancePayloadSchema, { requestInfo });
  setHeaders(context, definition);
  await sleep(definition.responseDelayMs, context.signal);
  const { response } = definition;
  if (response.case === "error") throw errorOf(response.value, requestInfo);
  return create(ConformancePayloadSchema, { requestInfo, data: response.value ?? new Uint8Array() });
}

/** The answers of a stream, each after the delay that is asked for, then the error if there is one. */
async function* answers(
  definition: StreamResponseDefinition | undefined,
  context: RequestContext,
  takeRequests: () => Any[],
): AsyncGenerator<ConformancePayload> {
  if (definition === undefined) return;
  setHeaders(context, definition);
  for (const [index, data] of definition.responseData.entries()) {
    await sleep(definition.responseDelayMs, context.signal);
    const requests = takeRequests();
    if (index === 0) {
      yield create(ConformancePayloadSchema, { data, requestInfo: requestInfoOf(context, requests) });
    } else if (requests.length > 0) {
      yield create(ConformancePayloadSchema, { data, requestInfo: { requests } });
    } else {
      yield create(ConformancePayloadSchema, { data });
    }
  }
  if (definition.error === undefined) return;
  const unanswered = definition.responseData.length === 0;
  throw errorOf(definition.error, unanswered ? requestInfoOf(context, takeRequests()) : undefined);
}

function setHeaders(
  { metadata }: RequestContext,
  definition: { readonly responseHeaders: Header[]; readonly responseTrailers: Header[] },
): void {
  for (const { name, value } of definition.responseHeaders) {
    for (const one of value) metadata.response.append(name, one);
  }
  for (const { name, value } of definition.responseTrailers) {
    for (const one of value) metadata.trailer.append(name, one);
  }
}

function errorOf(definition: ErrorDefinition, info: ConformancePayload_RequestInfo | undefined): LoquiError {
  const details = definition.details.map((any) => detail(any.typeUrl, any.value));
  if (info !== undefined) details.push(detailOf(ConformancePayload_RequestInfoSchema, info));
  return statusError(definition.code, definition.message ?? "", details);
}

function detailOf<D extends DescMessage>(desc: D, message: MessageShape<D>) {
  return detail(desc.typeName, toBinary(desc, message));
}

function detail(typeUrl: string, value: Uint8Array) {
  return { type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value };
}

function requestInfoOf(context: RequestContext, requests: Any[]): ConformancePayload_RequestInfo {
  const { request } = context.metadata;
  const timed = request.has("grpc-timeout") || request.has("connect-timeout-ms");
  const remainingMs = (context.deadline ?? 0) - performance.now();
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: [...request].map(([name, value]) => ({ name, value: value.split(", ") })),
    requests,
    ...(timed && { timeoutMs: BigInt(Math.max(0, Math.round(remainingMs))) }),
    // Of the calls only Connect's GET has no body, and so no type of it. Its query is not shown to handlers.
    ...(!request.has("content-type") && { connectGetInfo: {} }),
  });
}
