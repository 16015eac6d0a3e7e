import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import {
  type CallOptions,
  type ChannelOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { type ErrorDetail, ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";

type Input<M extends DescMethod> = MessageInitShape<M["input"]>;
type Output<M extends DescMethod> = MessageShape<M["output"]>;

export interface UnaryAnswer<M extends DescMethod> {
  readonly message: Output<M>;
  readonly headers: Metadata;
}

/** Calls methods by their descriptors through @grpc/grpc-js, a stack that shares no code with the server. */
export interface GrpcJsClient extends Disposable {
  unary<M extends DescMethod>(method: M, request: Input<M>, options?: GrpcJsOptions): Promise<UnaryAnswer<M>>;
  serverStream<M extends DescMethod>(
    method: M,
    request: Input<M>,
    options?: GrpcJsOptions,
  ): ClientReadableStream<Output<M>>;
  bidi<M extends DescMethod>(method: M): ClientDuplexStream<Input<M>, Output<M>>;
}

export interface GrpcJsOptions extends CallOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Takes a unary call's headers as they come, also those of a call that fails. */
  readonly onHeaders?: (headers: Metadata) => void;
}

/**
 * `secure`: PEM of the server's CA, and of the client's own key and certificate
 * where it needs them; `options`: of the channel.
 */
export function grpcJsClient(
  { host, port }: { host: string; port: number },
  secure?: { readonly ca: string; readonly key?: string; readonly cert?: string },
  options: ChannelOptions = {},
): GrpcJsClient {
  const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
  const channel =
    secure === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(pem(secure.ca), pem(secure.key), pem(secure.cert));
  const client = new GrpcClient(`${host}:${port}`, channel, {
    // A channel of its own for each test, so that one test's backoff is not another's.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    ...options,
  });
  const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;
  const serialize = (method: DescMethod) => (message: MessageInitShape<DescMethod["input"]>) =>
    Buffer.from(toBinary(method.input, create(method.input, message)));
  const parse =
    <M extends DescMethod>(method: M) =>
    (bytes: Buffer) =>
      fromBinary(method.output, bytes) as Output<M>;

  return {
    unary: (method, request, options = {}) =>
      new Promise((resolve, reject) => {
        let headers = new Metadata();
        client
          .makeUnaryRequest(
            pathOf(method),
            serialize(method),
            parse(method),
            request,
            metadataOf(options),
            options,
            (error, message) => (message === undefined ? reject(error) : resolve({ message, headers })),
          )
          .on("metadata", (received) => {
            headers = received;
            options.onHeaders?.(received);
          });
      }),
    serverStream: (method, request, options = {}) =>
      client.makeServerStreamRequest(
        pathOf(method),
        serialize(method),
        parse(method),
        request,
        metadataOf(options),
        options,
      ),
    bidi: (method) => client.makeBidiStreamRequest(pathOf(method), serialize(method), parse(method)),
    [Symbol.dispose]: () => client.close(),
  };
}

function metadataOf(options: GrpcJsOptions): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  return metadata;
}

/** The error that a call ends with. */
export async function grpcError(call: Promise<unknown> | AsyncIterable<unknown>): Promise<ServiceError> {
  try {
    if (Symbol.asyncIterator in call) for await (const _ of call);
    else await call;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error("the call ended with OK");
}

/** The `loqui.v1.ErrorDetail` in an error's trailer. */
export function detailOf(error: ServiceError): ErrorDetail | undefined {
  const [status] = error.metadata.get("grpc-status-details-bin");
  if (!(status instanceof Buffer)) return undefined;
  const headers = new Headers({ "grpc-status-details-bin": status.toString("base64") });
  return findTrailerError(headers)?.findDetails(ErrorDetailSchema)[0];
}
