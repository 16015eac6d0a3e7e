import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { inflateChunkBytes } from "../../src/rest/body.ts";
import { startTestServer } from "../server/test-server.ts";

const mebibyte = 1 << 20;

// Each piece is a turn of the event loop; in Node's 16 KiB a bomb of 64 MiB took seconds on a busy server.
test("what is decompressed comes in pieces that fit its size", () => {
  expect(inflateChunkBytes(0)).toBe(64 * 1024);
  expect(inflateChunkBytes(Number.NaN)).toBe(64 * 1024);
  expect(inflateChunkBytes(100)).toBe(16 * 1024);
  expect(inflateChunkBytes(20_000)).toBe(80_000);
  expect(inflateChunkBytes(68_000)).toBe(256 * 1024);
});

test("a bomb is refused by its decoded size, on Connect and gRPC", async () => {
  await using server = await startTestServer({ limits: { maxRequestBytes: 8 * mebibyte } });
  const bomb = gzipSync(Buffer.alloc(8 * mebibyte + 1, 0x20), { level: 9 });
  expect(bomb.length).toBeLessThan(10_000);
  const url = `${server.url}/loqui.v1.ChatService/CreateChatCompletion`;
  const message = `message is larger than ${8 * mebibyte} bytes after decompression`;

  const connect = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "content-encoding": "gzip" },
    body: bomb,
  });
  expect(connect.status).toBe(429);
  expect(await connect.json()).toMatchObject({ code: "resource_exhausted", message });

  const head = Buffer.of(1, 0, 0, 0, 0);
  head.writeUInt32BE(bomb.length, 1);
  const web = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+json", "grpc-encoding": "gzip" },
    body: Buffer.concat([head, bomb]),
  });
  const trailers = await web.text();
  expect(trailers).toContain("grpc-status: 8");
  expect(trailers).toContain(`grpc-message: ${encodeURIComponent(message)}`);
});
