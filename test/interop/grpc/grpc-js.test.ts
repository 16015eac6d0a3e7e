/** gRPC's interop cases (grpc/doc/interop-test-descriptions.md) by @grpc/grpc-js. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Client,
  type ClientDuplexStream,
  type ClientWritableStream,
  compressionAlgorithms,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestService, UnimplementedService } from "../gen/grpc/testing/test_pb.ts";

const { emptyCall, unaryCall, streamingOutputCall, streamingInputCall, fullDuplexCall, unimplementedCall } =
  TestService.method;

const requestSizes = [27182, 8, 1828, 45904];
const responseSizes = [31415, 9, 2653, 58979];
const largeRequest = 271828;
const largeResponse = 314159;

let address = process.env.LOQUI_TEST_GRPC_URL?.replace("http://", "");
let child: ChildProcess | undefined;
let client: Client;

beforeAll(async () => {
  if (address === undefined) {
    child = spawn(process.execPath, [join(import.meta.dirname, "server.ts")], { stdio: ["ignore", "pipe", "inherit"] });
    if (child.stdout === null) throw new Error("the server has no output");
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    address = String(line).replace("http://", "");
  }
  client = new Client(address, credentials.createInsecure());
});
afterAll(() => {
  client.close();
  child?.kill("SIGTERM");
});

const path = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;
const serialize =
  <M extends DescMethod>(method: M) =>
  (message: MessageInitShape<M["input"]>) =>
    Buffer.from(toBinary(method.input, create(method.input, message)));
const parse =
  <M extends DescMethod>(method: M) =>
  (bytes: Buffer) =>
    fromBinary(method.output, bytes) as MessageShape<M["output"]>;

interface Answer<M extends DescMethod> {
  readonly message?: MessageShape<M["output"]>;
  readonly error: ServiceError | null;
  readonly headers: Metadata | undefined;
  readonly trailers: Metadata | undefined;
}

function unary<M extends DescMethod>(
  method: M,
  request: MessageInitShape<M["input"]>,
  metadata = new Metadata(),
  on = client,
): Promise<Answer<M>> {
  return new Promise((resolve) => {
    let headers: Metadata | undefined;
    let trailers: Metadata | undefined;
    let ended: Pick<Answer<M>, "message" | "error"> | undefined;
    const settle = () => ended !== undefined && trailers !== undefined && resolve({ ...ended, headers, trailers });
    on.makeUnaryRequest(path(method), serialize(method), parse(method), request, metadata, (error, message) => {
      ended = { error, ...(message !== undefined && { message }) };
      settle();
    })
      .on("metadata", (received: Metadata) => {
        headers = received;
      })
      .on("status", (received: { metadata: Metadata }) => {
        trailers = received.metadata;
        settle();
      });
  });
}

type Duplex<M extends DescMethod> = ClientDuplexStream<MessageInitShape<M["input"]>, MessageShape<M["output"]>>;

function duplex<M extends DescMethod>(method: M, metadata = new Metadata(), options = {}): Duplex<M> {
  return client.makeBidiStreamRequest(path(method), serialize(method), parse(method), metadata, options);
}

interface Ending {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

/** How a stream ends; an error that it emits besides says the same. */
function ending(call: { on(event: "status" | "error", listener: (ending: Ending) => void): unknown }): Promise<Ending> {
  return new Promise((resolve) => {
    call.on("error", () => {});
    call.on("status", resolve);
  });
}

async function next<T>(call: AsyncIterator<T>): Promise<T> {
  const { value, done } = await call.next();
  if (done === true) throw new Error("the stream has ended");
  return value;
}

test("empty_unary", async () => {
  const { message, error } = await unary(emptyCall, {});
  expect(error).toBeNull();
  expect(message).toMatchObject({ $typeName: "grpc.testing.Empty" });
});

const large = { responseSize: largeResponse, payload: { body: new Uint8Array(largeRequest) } };

test("large_unary", async () => {
  const { message, error } = await unary(unaryCall, large);
  expect(error).toBeNull();
  expect(message?.payload?.body).toHaveLength(largeResponse);
});

test("client_compressed_unary", async () => {
  const request = { ...large, expectCompressed: { value: true } };
  // First a request that is not compressed, to see that the server looks.
  expect((await unary(unaryCall, request)).error?.code).toBe(status.INVALID_ARGUMENT);
  const compressing = new Client(String(address), credentials.createInsecure(), {
    "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
  });
  const { message, error } = await unary(unaryCall, request, new Metadata(), compressing);
  compressing.close();
  expect(error).toBeNull();
  expect(message?.payload?.body).toHaveLength(largeResponse);
});

test("client_streaming", async () => {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const call: ClientWritableStream<MessageInitShape<typeof streamingInputCall.input>> = client.makeClientStreamRequest(
    path(streamingInputCall),
    serialize(streamingInputCall),
    parse(streamingInputCall),
    (error, message) => (error === null ? resolve(message?.aggregatedPayloadSize) : reject(error)),
  );
  for (const size of requestSizes) call.write({ payload: { body: new Uint8Array(size) } });
  call.end();
  expect(await promise).toBe(74922);
});

test("server_streaming", async () => {
  const call = client.makeServerStreamRequest(
    path(streamingOutputCall),
    serialize(streamingOutputCall),
    parse(streamingOutputCall),
    { responseParameters: responseSizes.map((size) => ({ size })) },
  );
  const messages = await Array.fromAsync(call as AsyncIterable<MessageShape<typeof streamingOutputCall.output>>);
  expect(messages.map(({ payload }) => payload?.body.length)).toEqual(responseSizes);
});

test("ping_pong", async () => {
  const call = duplex(fullDuplexCall);
  const ended = ending(call);
  const messages = call[Symbol.asyncIterator]();
  for (const [index, size] of requestSizes.entries()) {
    const expected = responseSizes[index] ?? 0;
    call.write({ responseParameters: [{ size: expected }], payload: { body: new Uint8Array(size) } });
    expect((await next(messages)).payload.body).toHaveLength(expected);
  }
  call.end();
  expect(await messages.next()).toMatchObject({ done: true });
  expect((await ended).code).toBe(status.OK);
});

test("empty_stream", async () => {
  const call = duplex(fullDuplexCall);
  const ended = ending(call);
  call.end();
  expect(await Array.fromAsync(call)).toEqual([]);
  expect((await ended).code).toBe(status.OK);
});

test("timeout_on_sleeping_server", async () => {
  const call = duplex(fullDuplexCall, new Metadata(), { deadline: Date.now() + 1 });
  const ended = ending(call);
  call.write({ payload: { body: new Uint8Array(27182) } });
  call.resume();
  expect((await ended).code).toBe(status.DEADLINE_EXCEEDED);
});

test("cancel_after_begin", async () => {
  const { promise, resolve } = Promise.withResolvers<ServiceError | null>();
  const call = client.makeClientStreamRequest(
    path(streamingInputCall),
    serialize(streamingInputCall),
    parse(streamingInputCall),
    resolve,
  );
  call.cancel();
  expect((await promise)?.code).toBe(status.CANCELLED);
});

test("cancel_after_first_response", async () => {
  const call = duplex(fullDuplexCall);
  const ended = ending(call);
  call.write({ responseParameters: [{ size: 31415 }], payload: { body: new Uint8Array(27182) } });
  await once(call, "data");
  call.cancel();
  expect((await ended).code).toBe(status.CANCELLED);
});

test("status_code_and_message", async () => {
  const responseStatus = { code: 2, message: "test status message" };
  const { error } = await unary(unaryCall, { responseStatus });
  expect(error).toMatchObject({ code: 2, details: "test status message" });
  const call = duplex(fullDuplexCall);
  const ended = ending(call);
  call.write({ responseStatus });
  call.end();
  call.resume();
  expect(await ended).toMatchObject({ code: 2, details: "test status message" });
});

test("special_status_message", async () => {
  const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
  const { error } = await unary(unaryCall, { responseStatus: { code: 2, message } });
  expect(error).toMatchObject({ code: 2, details: message });
});

test("custom_metadata", async () => {
  const metadata = new Metadata();
  metadata.set("x-grpc-test-echo-initial", "test_initial_metadata_value");
  metadata.set("x-grpc-test-echo-trailing-bin", Buffer.from("ababab", "hex"));
  const expectEcho = (headers: Metadata | undefined, trailers: Metadata | undefined) => {
    expect(headers?.get("x-grpc-test-echo-initial")).toEqual(["test_initial_metadata_value"]);
    expect(trailers?.get("x-grpc-test-echo-trailing-bin")).toEqual([Buffer.from("ababab", "hex")]);
  };
  const { headers, trailers } = await unary(
    unaryCall,
    { responseSize: 1, payload: { body: Uint8Array.of(0) } },
    metadata,
  );
  expectEcho(headers, trailers);

  const call = duplex(fullDuplexCall, metadata);
  const ended = ending(call);
  const received = once(call, "metadata");
  call.write({ responseParameters: [{ size: 1 }], payload: { body: Uint8Array.of(0) } });
  call.end();
  call.resume();
  const [initial] = (await received) as [Metadata];
  expectEcho(initial, (await ended).metadata);
});

test("unimplemented_method", async () => {
  expect((await unary(unimplementedCall, {})).error?.code).toBe(status.UNIMPLEMENTED);
});

test("unimplemented_service", async () => {
  const { error } = await unary(UnimplementedService.method.unimplementedCall, {});
  expect(error?.code).toBe(status.UNIMPLEMENTED);
});
