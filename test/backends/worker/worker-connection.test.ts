import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CompleteSchema, FailureSchema } from "../../../gen/loqui/worker/v1/worker_pb.ts";
import { ConnectionLost, callWorker } from "../../../src/backends/worker/worker-connection.ts";
import { type Frame, FrameKind, writeFrames } from "../../../src/worker/frames.ts";

const call = { requestId: "1", method: "a.Service/Method", request: Buffer.from("request") };
const complete: Frame = {
  kind: FrameKind.complete,
  payload: toBinary(CompleteSchema, create(CompleteSchema, { totals: { completionTokens: 3 } })),
};
const message = (text: string): Frame => ({ kind: FrameKind.message, payload: Buffer.from(text) });

describe("a call to a worker", () => {
  let folder: string;
  let path: string;
  let server: Server;
  let accepted: Promise<Socket>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "connection-"));
    path = join(folder, "socket");
    server = createServer();
    accepted = new Promise((resolve) => server.once("connection", resolve));
    await new Promise<void>((resolve) => server.listen(path, resolve));
  });
  afterEach(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  const start = (signal = new AbortController().signal) => callWorker(path, call, signal);

  test("yields what the worker sends, the last reply included, then closes the connection", async () => {
    const replies = start();
    const socket = await accepted;
    const closed = new Promise((resolve) => socket.once("close", resolve));
    writeFrames(socket, [message("a"), message("b"), complete]);
    const cases: string[] = [];
    for await (const reply of replies) {
      cases.push(reply.case === "message" ? Buffer.from(reply.value).toString() : reply.case);
      if (reply.case === "complete") break;
    }
    expect(cases).toEqual(["a", "b", "complete"]);
    socket.resume();
    await closed;
  });

  test("yields what came before the connection was lost, then says so", async () => {
    const replies = start();
    const socket = await accepted;
    writeFrames(socket, [message("a")]);
    socket.end();
    socket.resume();
    await sleep(20);
    expect((await replies.next()).value).toMatchObject({ case: "message" });
    await expect(replies.next()).rejects.toMatchObject({ name: "ConnectionLost", connected: true });
  });

  test("says that nobody was there", async () => {
    const replies = callWorker(join(folder, "none"), call, new AbortController().signal);
    await expect(replies.next()).rejects.toEqual(expect.any(ConnectionLost));
    await expect(replies.next()).rejects.toMatchObject({ connected: false });
  });

  test("an abort ends it at once, also where replies wait", async () => {
    const controller = new AbortController();
    const replies = start(controller.signal);
    const socket = await accepted;
    const closed = new Promise((resolve) => socket.once("close", resolve));
    writeFrames(socket, [message("a")]);
    await sleep(20);
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(replies.next()).rejects.toBe(reason);
    socket.resume();
    await closed;
  });

  test("an abort ends a wait", async () => {
    const controller = new AbortController();
    const replies = start(controller.signal);
    const next = replies.next();
    await accepted;
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(next).rejects.toBe(reason);
  });

  test("a failure is decoded", async () => {
    const replies = start();
    const payload = toBinary(FailureSchema, create(FailureSchema, { message: "no" }));
    writeFrames(await accepted, [{ kind: FrameKind.failure, payload }]);
    expect((await replies.next()).value).toMatchObject({ case: "failure", value: { message: "no" } });
  });

  test.each([
    ["a frame of an unknown kind", Buffer.of(9, 0, 0, 0, 0)],
    ["a call", Buffer.of(FrameKind.call, 0, 0, 0, 0)],
    ["a failure that is none", Buffer.of(FrameKind.failure, 0, 0, 0, 1, 0xff)],
  ])("%s breaks the connection off", async (_, bytes) => {
    const replies = start();
    (await accepted).write(bytes);
    await expect(replies.next()).rejects.toMatchObject({ name: "ConnectionLost" });
  });

  test("reads no further than it is asked, and loses nothing", async () => {
    const replies = start();
    const socket = await accepted;
    const payload = Buffer.alloc(64 * 1024);
    const count = 400;
    for (let i = 0; i < count; i++) {
      payload.writeUInt32BE(i);
      writeFrames(socket, [{ kind: FrameKind.message, payload: Buffer.from(payload) }]);
    }
    writeFrames(socket, [complete]);
    await sleep(200);
    // 64 KiB, a read's worth and the kernel's buffers are out; the rest waits here.
    expect(socket.writableLength).toBeGreaterThan((count - 20) * payload.length);
    for (let i = 0; i < count; i++) {
      const { value } = await replies.next();
      expect(value?.case === "message" && Buffer.from(value.value).readUInt32BE()).toBe(i);
    }
    expect((await replies.next()).value).toMatchObject({
      case: "complete",
      value: { totals: { completionTokens: 3 } },
    });
  });
});
