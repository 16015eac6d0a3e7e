import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { envelopes } from "../../src/server/request-body.ts";
import { connectRawHttp2, flag, frame, frameOf, frameType } from "../support/http2-frames.ts";
import { startTestServer, type TestServer, until } from "./test-server.ts";

function envelope(content: string, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags);
  prefix.writeUInt32BE(content.length, 1);
  return Buffer.concat([prefix, Buffer.from(content)]);
}

/** A prefix that announces so many bytes. */
function announce(length: number): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

describe("envelopes", () => {
  const messages = [envelope("one"), envelope(""), envelope("x".repeat(10_000), 1), envelope("last")];
  const whole = Buffer.concat(messages);

  async function* cut(bytes: Buffer, size: number) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const collect = (bytes: Buffer, size: number, maxBytes = 20_000) =>
    Array.fromAsync(envelopes(cut(bytes, size), maxBytes), (piece) => Buffer.from(piece).toString("latin1"));
  const expected = messages.map((message) => message.toString("latin1"));

  test.each([1, 2, 4, 5, 6, 9, 1_000, 4_096, 10_005, 100_000])(
    "in pieces of %i bytes come one by one",
    async (size) => {
      expect(await collect(whole, size)).toEqual(expected);
    },
  );

  test("the last that is cut off comes as it is", async () => {
    expect(await collect(whole.subarray(0, whole.length - 1), 7)).toEqual([
      ...expected.slice(0, 3),
      expected[3]?.slice(0, -1),
    ]);
    expect(await collect(Buffer.of(0, 0), 7)).toEqual(["\0\0"]);
    expect(await collect(Buffer.alloc(0), 7)).toEqual([]);
  });

  test.each([20_001, 2 ** 31, 2 ** 32 - 1])(
    "of one that is too large, %i bytes, the prefix comes alone, at once",
    async (length) => {
      const never = (async function* () {
        yield announce(length);
        await new Promise(() => {});
      })();
      const { value } = await envelopes(never, 20_000).next();
      expect(Buffer.from(value ?? []).equals(announce(length))).toBe(true);
    },
  );
});

describe("a length that is announced takes no memory before the bytes are there", () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startTestServer();
  });
  afterEach(() => server.close({ force: true }));

  const call = (type: string, more: Record<string, string> = {}) => ({
    ":method": "POST",
    ":scheme": "http",
    ":authority": "127.0.0.1",
    ":path": `/loqui.v1.ChatService/${type.includes("connect+") ? "Stream" : "Create"}ChatCompletion`,
    "content-type": type,
    ...more,
  });
  const size = (64 << 20) - 1;
  const open = (stream: number, type: string, first: Buffer, more = {}) =>
    Buffer.concat([frame.headers(stream, call(type, more)), frameOf(frameType.data, flag.none, stream, first)]);

  test.each<[string, (stream: number) => Buffer]>([
    ["gRPC", (stream) => open(stream, "application/grpc", announce(size))],
    ["gRPC-Web", (stream) => open(stream, "application/grpc-web+proto", announce(size))],
    ["a stream of Connect", (stream) => open(stream, "application/connect+json", announce(size))],
    ["Connect", (stream) => open(stream, "application/json", Buffer.from("{"), { "content-length": String(size) })],
  ])("%s", async (_, begin) => {
    const before = process.memoryUsage().external;
    using client = connectRawHttp2(server);
    client.socket.write(
      Buffer.concat([frame.opening(), ...Array.from({ length: 90 }, (_, index) => begin(2 * index + 1))]),
    );
    await expect.poll(async () => (await server.status()).streams.http2).toBe(90);
    // They wait for the rest; a request behind them has been answered.
    client.socket.write(
      frame.headers(181, { ...call("x"), ":method": "GET", ":path": "/livez" }, flag.endHeaders | flag.endStream),
    );
    await until(() => client.statuses.has(181));
    expect(process.memoryUsage().external - before).toBeLessThan(size);
    expect([...client.statuses.keys()]).toEqual([181]);
  });

  test.each(["application/grpc", "application/grpc-web+proto"])(
    "%s: above the limit it is refused at once",
    async (type) => {
      const session = connectHttp2(server.url);
      const stream = session.request(call(type));
      stream.write(announce(2 ** 32 - 1));
      const status = await new Promise((resolve, reject) => {
        stream.on("error", reject);
        stream.on("trailers", (trailers) => resolve(trailers["grpc-status"]));
        let body = "";
        stream.setEncoding("latin1").on("data", (data) => {
          body += data;
        });
        stream.on("end", () => body !== "" && resolve(/grpc-status: (\d+)/.exec(body)?.[1]));
      });
      expect(status).toBe("8");
      session.destroy();
    },
  );

  test("Connect: above the limit it is refused at once", async () => {
    const socket = connectTcp(server.port, server.host);
    const { ":path": path } = call("application/json");
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${2 ** 32}\r\n\r\n`,
    );
    const answer = await new Promise<string>((resolve) => socket.once("data", (data) => resolve(data.toString())));
    socket.destroy();
    expect(answer).toMatch(/^HTTP\/1\.1 429 [\s\S]*resource_exhausted/);
  });
});
