/** A worker is killed while it answers: what each protocol says, and that the next request succeeds. */
import { Code, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { signalWorker } from "../support/processes.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";
import { transports } from "../support/transports.ts";
import { post, question, readDisturbed } from "./support.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({
    endless: { reply: ["on ", "and ", "off "], loop: true },
    other: { reply: ["still ", "here"] },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

async function nextSucceeds(): Promise<void> {
  const answer = await post(running.url, { model: "endless", max_tokens: 3 });
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ choices: [{ message: { content: "on and off " } }] });
}

describe("kill -9 of a worker in mid-stream", () => {
  it("REST: an error in band, no [DONE], the next request succeeds, the other model never noticed", async () => {
    const response = await post(running.url, { model: "endless", stream: true });
    expect(response.status).toBe(200);
    let text = "";
    let killed = false;
    for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (!killed && text.includes('"content":"on "')) {
        signalWorker("endless", "SIGKILL");
        killed = true;
        expect((await post(running.url, { model: "other" })).status).toBe(200);
      }
    }
    const all = text.split("\n\n").filter((event) => event !== "");
    expect(JSON.parse(all.at(-1)?.replace(/^data: /, "") ?? "")).toEqual({
      error: {
        message: "the worker of the model endless died while it answered",
        type: "server_error",
        param: null,
        code: "worker_crashed",
      },
    });
    expect(text).not.toContain("[DONE]");
    await nextSucceeds();
  });

  it.each(transports)("%s: UNAVAILABLE, the next request succeeds", async (name, transportTo) => {
    const client = createClient(ChatService, transportTo(running.url));
    // The same input twice would be in quarantine.
    const request = question("endless", `Hi by ${name}!`);
    const read = readDisturbed(client.streamChatCompletion(request), () => signalWorker("endless", "SIGKILL"));
    await expect(read).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: "the worker of the model endless died while it answered",
    });
    await nextSucceeds();
  });
});
