import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type MethodImpl,
} from "@connectrpc/connect";
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import { grpcCode, LoquiError } from "../errors.ts";
import { type IncomingCall, type Protocol, requestIdFrom } from "../request-context.ts";
import type { Dispatcher } from "../services/dispatcher.ts";
import type { RequestInput } from "../services/handlers.ts";
import { fromConnectError, toConnectError } from "./connect-errors.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse, headerOf, pathOf, sendEmpty } from "./http.ts";
import type { ServerLimits } from "./limits.ts";

type Message = MessageShape<DescMessage>;

/** Why a request is refused before its body is read; undefined where it is not. */
export type Gate = (request: HttpRequest) => LoquiError | undefined;

export interface ConnectAdapterOptions {
  readonly dispatcher: Dispatcher;
  readonly limits: ServerLimits;
  /** Asked for every call once its header is there; the refusal is sent in the shape of its protocol. */
  readonly gate: Gate;
  /** Answers every path that is no method of a service. */
  readonly fallback: HttpHandler;
  /** Takes what went wrong while a response was written. */
  readonly onError: (error: unknown, method: string) => void;
}

/** What the adapter knows of a request beside what Connect tells a handler. */
interface Arrival {
  readonly requestId: string;
  readonly refusal: LoquiError | undefined;
  /** Aborted when the connection closes before the call has ended. */
  readonly signal: AbortSignal;
  ended: boolean;
}

const arrivalKey = createContextKey<Arrival | undefined>(undefined);

/**
 * Serves the dispatcher's services as gRPC, gRPC-Web and Connect. A call is
 * recognised by its exact path, the protocol by its content type. Requests may
 * be compressed with gzip; responses never are: most of a model's output
 * doesn't shrink, and each message would cost more than it saves.
 */
export function createConnectAdapter(options: ConnectAdapterOptions): HttpHandler {
  const { dispatcher, limits } = options;
  const arrivals = new WeakMap<HttpRequest, Arrival>();
  const methods = new Map(
    dispatcher.services.flatMap((service) =>
      service.methods.map((method): [string, DescMethod] => [`/${service.typeName}/${method.name}`, method]),
    ),
  );

  const adapter = connectNodeAdapter({
    routes(router) {
      for (const method of methods.values()) register(router, method, dispatcher);
    },
    acceptCompression: [compressionGzip],
    compressMinBytes: Number.MAX_SAFE_INTEGER,
    readMaxBytes: limits.maxRequestBytes,
    writeMaxBytes: limits.maxResponseBytes,
    contextValues: (request) => createContextValues().set(arrivalKey, arrivals.get(request)),
    requestGate(context) {
      const refusal = arrivalOf(context).refusal;
      if (refusal !== undefined) throw toConnectError(refusal);
    },
  });

  return (request, response) => {
    const path = pathOf(request);
    const method = methods.get(path);
    if (method === undefined) {
      if (!refuseUnknownGrpc(request, response)) options.fallback(request, response);
      return;
    }
    const arrival = arrive(request, response, options.gate);
    arrivals.set(request, arrival);
    response.setHeader("x-request-id", arrival.requestId);
    // connect-node does not know the absolute form of a target (RFC 9112, 3.2.2), which proxies send.
    if (request.url?.startsWith("http")) request.url = path;
    dropEndlessTimeout(request);
    if (isGrpc(request)) readableGrpcMessage(response);
    try {
      adapter(request, response);
    } catch (error) {
      // A missing or malformed authority: connect-node throws before it has a response of its own.
      options.onError(error, method.name);
      sendEmpty(response, 400);
    }
  };
}

function arrive(request: HttpRequest, response: HttpResponse, gate: Gate): Arrival {
  const controller = new AbortController();
  const arrival: Arrival = {
    requestId: requestIdFrom(headerOf(request, "x-request-id")),
    refusal: gate(request),
    signal: controller.signal,
    ended: false,
  };
  response.once("close", () => {
    if (!arrival.ended) controller.abort();
  });
  return arrival;
}

function arrivalOf(context: HandlerContext): Arrival {
  const arrival = context.values.get(arrivalKey);
  if (arrival === undefined) throw new Error("the request did not come through the adapter");
  return arrival;
}

function register(router: ConnectRouter, method: DescMethod, dispatcher: Dispatcher): void {
  const respond = (input: RequestInput, context: HandlerContext) => run(dispatcher, method, input, context);
  const streamsIn = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const streamsOut = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
  const inputOf = streamsIn
    ? (input: RequestInput) => readable(input as AsyncIterable<Message>)
    : (input: RequestInput) => input;
  const implementation = streamsOut
    ? (input: RequestInput, context: HandlerContext) => respond(inputOf(input), context)
    : (input: RequestInput, context: HandlerContext) => single(respond(inputOf(input), context));
  // The method's kind decides which of the four shapes this is; the compiler can't follow that through `DescMethod`.
  router.rpc(method, implementation as MethodImpl<DescMethod>);
}

/** The response messages of a call, its errors as Connect's. */
async function* run(
  dispatcher: Dispatcher,
  method: DescMethod,
  input: RequestInput,
  context: HandlerContext,
): AsyncGenerator<Message> {
  const arrival = arrivalOf(context);
  const timeoutMs = context.timeoutMs();
  const call: IncomingCall = {
    protocol: context.protocolName as Protocol,
    requestId: arrival.requestId,
    header: (name) => context.requestHeader.get(name) ?? undefined,
    signal: arrival.signal,
    ...(timeoutMs !== undefined && { timeoutMs: Math.max(0, timeoutMs) }),
  };
  try {
    // Not `yield*`: a failed write would be thrown into the dispatcher and look like a failure of the call.
    for await (const message of dispatcher.run(method, input, call)) yield message;
  } catch (error) {
    throw toConnectError(error);
  } finally {
    arrival.ended = true;
  }
}

async function single(messages: AsyncIterable<Message>): Promise<Message> {
  let answer: Message | undefined;
  for await (const message of messages) {
    if (answer !== undefined) throw toConnectError(new LoquiError("internal", "more than one response message"));
    answer = message;
  }
  if (answer === undefined) throw toConnectError(new LoquiError("internal", "no response message"));
  return answer;
}

async function* readable(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw fromConnectError(error);
  }
}

/**
 * gRPC allows timeouts of up to 99,999,999 hours. Connect would start a timer
 * of that length, and Node fires those that overflow at once.
 */
function dropEndlessTimeout(request: HttpRequest): void {
  const grpc = /^(\d{1,8})([HMS])$/.exec(headerOf(request, "grpc-timeout") ?? "");
  const seconds = grpc === null ? 0 : Number(grpc[1]) * { H: 3600, M: 60, S: 1 }[grpc[2] as "H" | "M" | "S"];
  if (seconds * 1000 >= 2 ** 31) delete request.headers["grpc-timeout"];
  const connect = headerOf(request, "connect-timeout-ms") ?? "";
  if (/^\d{1,10}$/.test(connect) && Number(connect) >= 2 ** 31) delete request.headers["connect-timeout-ms"];
}

function isGrpc(request: HttpRequest): boolean {
  return /^application\/grpc(\+|;|$)/i.test(headerOf(request, "content-type") ?? "");
}

/**
 * Has the gRPC status message encoded as the protocol asks (only `%` and what
 * is not printable ASCII). connect-es encodes far more, and grpc-js leaves
 * `%3A`, `%2C` or `%2F` as they are: its users would not see `n: 3 of 2`.
 */
function readableGrpcMessage(response: HttpResponse): void {
  const addTrailers = response.addTrailers.bind(response) as (trailers: Record<string, unknown>) => void;
  response.addTrailers = (trailers: object) => {
    const { "grpc-message": message, ...others } = trailers as Record<string, unknown>;
    if (typeof message !== "string") return addTrailers(others);
    addTrailers({ ...others, "grpc-message": encodeGrpcMessage(decodeURIComponent(message)) });
  };
}

/** https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses, `Percent-Encoded`. */
function encodeGrpcMessage(message: string): string {
  return message.replace(/[^ -$&-~]+/gu, encodeURIComponent);
}

/** Answers a gRPC call of an unknown method; a client could not make sense of a REST error. */
function refuseUnknownGrpc(request: HttpRequest, response: HttpResponse): boolean {
  const type = headerOf(request, "content-type");
  if (request.method !== "POST" || type === undefined || !/^application\/grpc(-web)?(\+|;|$)/i.test(type)) return false;
  sendEmpty(response, 200, {
    "content-type": type,
    "grpc-status": String(grpcCode.unimplemented),
    "grpc-message": encodeGrpcMessage(`${pathOf(request).slice(1)} is not implemented`),
  });
  return true;
}
