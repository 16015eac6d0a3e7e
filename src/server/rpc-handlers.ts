import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import { ConnectError, type HandlerContext, type MethodImplSpec } from "@connectrpc/connect";
import {
  createUniversalMethodHandler,
  type UniversalHandler,
  type UniversalHandlerOptions,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import {
  createHandlerFactory as createConnectFactory,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { createHandlerFactory as createGrpcFactory } from "@connectrpc/connect/protocol-grpc";
import { createHandlerFactory as createGrpcWebFactory } from "@connectrpc/connect/protocol-grpc-web";
import { LoquiError } from "../errors.ts";
import type { RequestInput } from "../services/handlers.ts";
import { fromConnectError, toConnectError } from "./connect-errors.ts";

type Message = MessageShape<DescMessage>;

/** Answers a call; it has read its request message, or reads the stream of them, and throws ConnectErrors. */
export type RpcImplementation = (input: RequestInput, context: HandlerContext) => AsyncIterable<Message>;

export interface RpcHandlersOptions extends Partial<UniversalHandlerOptions> {
  /** Whether a call was read, or refused before; what fails until then is the request. */
  readonly isRead: (request: UniversalServerRequest) => boolean;
}

/**
 * Makes the handlers of methods for gRPC, gRPC-Web and Connect.
 *
 * What goes wrong while a request is read is the client's fault, but connect-es
 * calls much of it INTERNAL: a message that does not parse, data that does not
 * decompress, a compressed message without an encoding. It tells the
 * implementation of none but a stream of requests. So every method is given to
 * it as one; the single message of the others is read here.
 */
export function createRpcHandlers(
  options: RpcHandlersOptions,
): (method: DescMethod, implementation: RpcImplementation) => UniversalHandler {
  const grpc = createGrpcFactory(options);
  const grpcWeb = createGrpcWebFactory(options);
  const connect = createConnectFactory(options);

  return (method, implementation) => {
    const streamsIn = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
    const impl = streamsIn
      ? (input: AsyncIterable<Message>, context: HandlerContext) => implementation(readable(input), context)
      : async function* (input: AsyncIterable<Message>, context: HandlerContext) {
          yield* implementation(await onlyMessage(input), context);
        };
    // Of the method the protocols look at the types of its messages, of the kind at how `impl` is called.
    const streaming = { kind: "bidi_streaming", method, impl } as MethodImplSpec;
    if (method.methodKind !== "unary") return createUniversalMethodHandler(streaming, [grpc, grpcWeb, connect]);

    // Connect has a protocol of its own for unary methods, which it chooses by the kind.
    const unary = connect({
      kind: "unary",
      method,
      impl: (input: Message, context: HandlerContext) => single(implementation(input, context)),
    } as MethodImplSpec);
    const handle = async (request: UniversalServerRequest) => {
      const response = await unary(request);
      return response.status === 500 && !options.isRead(request) ? blamedOnRequest(response) : response;
    };
    const mended = Object.assign(() => Object.assign(handle, propertiesOf(unary)), { protocolName: "connect" });
    return createUniversalMethodHandler(streaming, [grpc, grpcWeb, mended]);
  };
}

function propertiesOf({
  service,
  method,
  requestPath,
  supportedContentType,
  protocolNames,
  allowedMethods,
}: UniversalHandler) {
  return { service, method, requestPath, supportedContentType, protocolNames, allowedMethods };
}

async function onlyMessage(messages: AsyncIterable<Message>): Promise<Message> {
  let only: Message | undefined;
  try {
    for await (const message of readable(messages)) {
      if (only !== undefined) throw new LoquiError("unimplemented", "more than one request message");
      only = message;
    }
  } catch (error) {
    throw toConnectError(error);
  }
  // UNIMPLEMENTED, as gRPC has it for the wrong number of messages (grpc/doc/statuscodes.md).
  if (only === undefined) throw toConnectError(new LoquiError("unimplemented", "no request message"));
  return only;
}

async function* readable(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw fromConnectError(error);
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

/** An internal error of a call whose implementation was never reached, as the invalid request that it is. */
async function blamedOnRequest(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  const fallback = new ConnectError("the request can't be read");
  const { rawMessage } = errorFromJsonBytes(Buffer.concat(chunks), undefined, fallback);
  // What is no error of Connect's (base64 in a query) came without a message.
  const message = rawMessage === "internal error" ? fallback.rawMessage : rawMessage;
  const error = new LoquiError("invalid_request", message);
  const body = errorToJsonBytes(toConnectError(error), undefined);
  const header = new Headers(response.header);
  header.set("content-length", String(body.byteLength));
  return { ...response, status: error.http, header, body: oneChunk(body) };
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
