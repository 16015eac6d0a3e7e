import { create, createRegistry, type DescMessage, type DescMethod, type MessageShape } from "@bufbuild/protobuf";
import { type ContextValues, createContextKey, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { bytesOf, decodedMessage } from "../encoded-message.ts";
import { type ErrorKind, LoquiError, toLoquiError } from "../errors.ts";
import type { Caller, IncomingCall, Protocol } from "../request-context.ts";
import { watchReader } from "../rest/slow-reader.ts";
import type { Dispatcher } from "../services/dispatcher.ts";
import type { RequestInput } from "../services/handlers.ts";
import { kindOfStatus, toConnectError } from "./connect-errors.ts";
import {
  dropEndlessTimeout,
  hasEnvelopes,
  isGrpc,
  isRpc,
  offerEncodings,
  readableGrpcMessage,
  refuseSlowBody,
  sendRefusal,
} from "./grpc-http.ts";
import { gzip } from "./gzip.ts";
import {
  breakOff,
  discardBody,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  headerOf,
  pathOf,
  sendEmpty,
  targetOf,
} from "./http.ts";
import type { ServerLimits } from "./limits.ts";
import { inPieces } from "./pieces.ts";
import { bodyOf } from "./request-body.ts";
import { createRpcHandlers } from "./rpc-handlers.ts";

/** How connect-node types a response: one that either HTTP version can be. */
type NodeServerResponse = Parameters<typeof universalResponseToNodeResponse>[1];
type Message = MessageShape<DescMessage>;

/**
 * Lets a call in before its body is read, and says whose it is; `method` is
 * undefined where there is none of that name. Throws the refusal as a LoquiError.
 */
export type AdmitCall = (
  request: HttpRequest,
  response: HttpResponse,
  method: DescMethod | undefined,
) => Promise<Caller>;

/** A call that was answered without coming to the dispatcher. */
export interface RefusedCall {
  readonly requestId: string;
  readonly protocol: Protocol;
  readonly path: string;
  readonly kind: ErrorKind;
}

export interface ConnectAdapterOptions {
  readonly dispatcher: Dispatcher;
  readonly limits: ServerLimits;
  /** Asked for every call once its header is there; the refusal is sent in the shape of its protocol. */
  readonly admit: AdmitCall;
  /** Answers every path that is no method of a service. */
  readonly fallback: HttpHandler;
  /** Takes what is known of a call that was answered without coming to the dispatcher: it could not be read. */
  readonly onRefused: (call: RefusedCall) => void;
  /** Takes what went wrong while a response was written. */
  readonly onError: (error: unknown, method: string) => void;
}

/** What the adapter knows of a request beside what Connect tells a handler. */
interface Arrival {
  readonly requestId: string;
  /** Who calls; rejects with the gate's refusal. */
  readonly admission: Promise<Caller>;
  /** Why the gate has refused it. */
  refused: ErrorKind | undefined;
  /** Aborted when the connection closes before the call has ended. */
  readonly signal: AbortSignal;
  /** Whether it has come to the dispatcher, which leaves a record of it. */
  started: boolean;
  ended: boolean;
  /** Whether its messages go in envelopes. */
  readonly enveloped: boolean;
  /** A large message that Connect was given an empty one for, and is sent in its place: Connect would copy it three times. */
  encoded: Uint8Array | undefined;
  /** Of the response: holds the gRPC status once it is sent. */
  trailer: Headers | undefined;
}

const arrivalKey = createContextKey<Arrival | undefined>(undefined);

/**
 * Serves the dispatcher's services as gRPC, gRPC-Web and Connect. A call is
 * recognised by its exact path, the protocol by its content type. Requests may
 * be compressed with gzip; responses never are: most of a model's output
 * doesn't shrink, and each message would cost more than it saves.
 *
 * Does what `connectNodeAdapter` does, but for what goes wrong with a single
 * request: that one throws out of the request listener or writes to the console.
 */
export function createConnectAdapter(options: ConnectAdapterOptions): HttpHandler {
  const { dispatcher, limits } = options;
  const createHandler = createRpcHandlers({
    // An unknown member or enum value of a request in JSON is an error: connect's default drops both without a word.
    jsonOptions: {
      ignoreUnknownFields: false,
      // What an Any may hold: JSON spells it by its type's fields.
      registry: createRegistry(...dispatcher.services.map((service) => service.file)),
    },
    acceptCompression: [gzip],
    compressMinBytes: Number.MAX_SAFE_INTEGER,
    readMaxBytes: limits.maxRequestBytes,
    writeMaxBytes: limits.maxResponseBytes,
    async requestGate(context) {
      const arrival = arrivalOf(context.values);
      try {
        await arrival.admission;
      } catch (error) {
        const refusal = toLoquiError(error);
        arrival.refused = refusal.kind;
        throw toConnectError(refusal);
      }
    },
    isRead({ contextValues }) {
      const arrival = contextValues?.get(arrivalKey);
      return arrival === undefined || arrival.started || arrival.refused !== undefined;
    },
  });
  const handlers = new Map(
    dispatcher.services
      .flatMap((service) => service.methods)
      .map((method) => createHandler(method, (input, context) => run(options, method, input, context)))
      .map((handler) => [handler.requestPath, handler]),
  );

  return (request, response) => {
    const path = pathOf(request);
    const handler = handlers.get(path);
    if (handler === undefined) {
      if (isRpc(request)) void refuseUnknown(request, response, options);
      else options.fallback(request, response);
      return;
    }
    const arrival = arrive(request, response, handler.method, options);
    if (isGrpc(request)) readableGrpcMessage(response);
    offerEncodings(request, response);
    dropEndlessTimeout(request);
    // connect-node does not know the absolute form of a target (RFC 9112, 3.2.2), which proxies send.
    if (request.url?.startsWith("http")) request.url = originForm(request);
    const written = "stream" in response ? response.stream : response;
    written.once("finish", () => discardBody(request));
    answer(handler, request, response, arrival, limits.maxRequestBytes).catch((error) => {
      options.onError(error, path.slice(1));
      if (response.headersSent) breakOff(response);
      else sendEmpty(response, 500);
    });
  };
}

/** Answers a call of a method that there isn't, to those who may know that. */
async function refuseUnknown(
  request: HttpRequest,
  response: HttpResponse,
  { admit, onRefused }: Pick<ConnectAdapterOptions, "admit" | "onRefused">,
): Promise<void> {
  const requestId = String(response.getHeader("x-request-id"));
  const path = pathOf(request);
  const unknown = new LoquiError("unimplemented", `${path.slice(1)} is not implemented`);
  const refusal = await admit(request, response, undefined).then(() => unknown, toLoquiError);
  onRefused({ requestId, protocol: protocolOf(request), path, kind: refusal.kind });
  // 404, not 501: it is the path that isn't there.
  sendRefusal(request, response, toConnectError(refusal), refusal === unknown ? 404 : refusal.http);
}

function originForm(request: HttpRequest): string {
  const { path, query } = targetOf(request);
  return query === "" ? path : `${path}?${query}`;
}

async function answer(
  handler: UniversalHandler,
  request: HttpRequest,
  response: HttpResponse,
  arrival: Arrival,
  maxBytes: number,
): Promise<void> {
  const values = createContextValues().set(arrivalKey, arrival);
  let call: UniversalServerRequest;
  try {
    call = universalRequestFromNodeRequest(request, response as NodeServerResponse, undefined, values);
  } catch {
    // The authority, which HTTP/1.0 may leave out, or the target make no URL.
    sendEmpty(response, 400);
    return;
  }
  const { enveloped } = arrival;
  // The length was kept by Node. Told of it, connect-es makes room for all of a body that has yet to come.
  if (!enveloped && Number(call.header.get("content-length")) <= maxBytes) call.header.delete("content-length");
  const reply = await handler({ ...call, body: bodyOf(request, enveloped, maxBytes) });
  arrival.trailer = reply.trailer;
  const takeEncoded = () => {
    const { encoded } = arrival;
    arrival.encoded = undefined;
    return encoded;
  };
  const body = reply.body === undefined ? {} : { body: inPieces(reply.body, response, takeEncoded) };
  await universalResponseToNodeResponse({ ...reply, ...body }, response as NodeServerResponse);
}

function arrive(
  request: HttpRequest,
  response: HttpResponse,
  method: DescMethod,
  { admit, limits, onRefused }: Pick<ConnectAdapterOptions, "admit" | "limits" | "onRefused">,
): Arrival {
  const controller = new AbortController();
  const arrival: Arrival = {
    requestId: String(response.getHeader("x-request-id")),
    // At once: what comes after this rewrites the request's target.
    admission: admit(request, response, method),
    refused: undefined,
    signal: controller.signal,
    started: false,
    ended: false,
    enveloped: hasEnvelopes(request),
    encoded: undefined,
    trailer: undefined,
  };
  // Connect may answer a call that it can't read before it asks for this.
  arrival.admission.catch(() => {});
  const streamsIn = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const timer = setTimeout(() => {
    if (arrival.started || arrival.refused !== undefined || streamsIn) return;
    arrival.refused = "timeout";
    refuseSlowBody(request, response, limits.bodyTimeoutMs);
  }, limits.bodyTimeoutMs);
  watchReader(response, limits.stallMs, (reason) => controller.abort(reason));
  response.once("close", () => {
    clearTimeout(timer);
    if (!arrival.ended) controller.abort();
    if (arrival.started) return;
    const kind = arrival.refused ?? kindOfReply(response, arrival.trailer);
    onRefused({ requestId: arrival.requestId, protocol: protocolOf(request), path: pathOf(request), kind });
  });
  return arrival;
}

/** Why Connect could not read a call, as far as its answer says. */
function kindOfReply(response: HttpResponse, trailer: Headers | undefined): ErrorKind {
  if (!response.writableFinished) return "cancelled";
  const grpcStatus = Number(trailer?.get("grpc-status") ?? 0);
  return kindOfStatus(grpcStatus === 0 ? response.statusCode : grpcStatus);
}

function protocolOf(request: HttpRequest): Protocol {
  if (isGrpc(request)) return "grpc";
  return headerOf(request, "content-type")?.toLowerCase().startsWith("application/grpc-web") ? "grpc-web" : "connect";
}

function arrivalOf(values: ContextValues): Arrival {
  const arrival = values.get(arrivalKey);
  if (arrival === undefined) throw new Error("the request did not come through the adapter");
  return arrival;
}

/** From this size on a message that is encoded already goes past Connect. */
const largeBytes = 16 * 1024;

/** The response messages of a call, its errors as Connect's. */
async function* run(
  { dispatcher, limits }: Pick<ConnectAdapterOptions, "dispatcher" | "limits">,
  method: DescMethod,
  input: RequestInput,
  context: HandlerContext,
): AsyncGenerator<Message> {
  const arrival = arrivalOf(context.values);
  arrival.started = true;
  // As JSON, a message that is still encoded would have no fields.
  const binary = isBinary(context.requestHeader.get("content-type"));
  const timeoutMs = context.timeoutMs();
  const call: IncomingCall = {
    protocol: context.protocolName as Protocol,
    requestId: arrival.requestId,
    header: (name) => context.requestHeader.get(name) ?? undefined,
    caller: await arrival.admission,
    metadata: { request: context.requestHeader, response: context.responseHeader, trailer: context.responseTrailer },
    signal: arrival.signal,
    ...(timeoutMs !== undefined && { timeoutMs: Math.max(0, timeoutMs) }),
  };
  const messages = dispatcher.run(method, input, call)[Symbol.asyncIterator]();
  // Not when Connect notices: it waits for the client to take what is written, and nobody may be there.
  const stop = () => void messages.return?.()?.then(undefined, () => {});
  arrival.signal.addEventListener("abort", stop, { once: true });
  try {
    // Not `yield*`: a failed write would be thrown into the dispatcher and look like a failure of the call.
    for await (const message of { [Symbol.asyncIterator]: () => messages }) {
      const bytes = binary && arrival.enveloped ? bytesOf(message) : undefined;
      if (bytes === undefined || bytes.length < largeBytes || bytes.length > limits.maxResponseBytes) {
        yield binary ? message : decodedMessage(method.output, message);
      } else {
        arrival.encoded = bytes;
        yield create(method.output);
      }
    }
  } catch (error) {
    throw toConnectError(error);
  } finally {
    arrival.ended = true;
    arrival.signal.removeEventListener("abort", stop);
  }
}

/** Whether a call's messages are Protobuf: of gRPC, where the type says nothing else, gRPC-Web and Connect. */
function isBinary(contentType: string | null): boolean {
  return /^application\/(grpc(-web)?(-text)?(\+proto)?|(connect\+)?proto)\s*(;|$)/i.test(contentType ?? "");
}
