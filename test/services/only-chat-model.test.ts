import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

let one: RunningLoqui;
let two: RunningLoqui;
beforeAll(async () => {
  one = await startWithScripts({ hello: { reply: ["Hi"] } });
  two = await startWithScripts({ hello: { reply: ["Hi"] }, other: { reply: ["Ho"] } });
});
afterAll(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

async function post({ url }: RunningLoqui, path: string, body: object) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

test("as llama-server's clients ask, without a model", async () => {
  expect(await post(one, "/tokenize", { content: "Hi" })).toMatchObject({ status: 200, body: { tokens: [72, 105] } });
  expect(await post(one, "/detokenize", { tokens: [72, 105] })).toEqual({
    status: 200,
    body: { content: "Hi", prompt: "Hi" },
  });
});

test("one of several has to be named", async () => {
  for (const [path, body] of [
    ["/tokenize", { content: "Hi" }],
    ["/detokenize", { tokens: [72] }],
  ] as const) {
    expect(await post(two, path, body)).toMatchObject({
      status: 400,
      body: {
        error: { param: "model", message: "model is not given, and there are 2 chat models" },
      },
    });
    expect(await post(two, path, { model: "other", ...body })).toMatchObject({ status: 200 });
    expect(await post(one, path, { model: "", ...body })).toMatchObject({ status: 400 });
  }
});
