/**
 * Nothing that belongs to a client or to this machine comes into the log: texts
 * that stand in prompts, answers, keys, headers, file names, tools, metadata and
 * model paths go through all protocols and many errors of a server in a process
 * of its own, and what it wrote is searched for them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { str, writeGguf } from "../support/gguf.ts";
import { signalWorker } from "../support/processes.ts";
import { writeScripts } from "../support/running-loqui.ts";

const canary = {
  prompt: "canary-prompt-3f1",
  answer: "canary-answer-77c",
  key: "sk-canary-key-c04",
  header: "canary-header-9b2",
  path: "canary-path-51d",
  file: "canary-file-e8a",
  tool: "canary-tool-24f",
  argument: "canary-argument-b66",
  metadata: "canary-metadata-0d9",
  member: "canary_member_a1c",
};

const wrongKey = "canary-wrong-key-e1e";

let folder: string;
let models: string[];
let keysFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `loqui-${canary.path}-`));
  const inner = join(folder, `with space ${canary.path}`);
  mkdirSync(inner);
  models = writeScripts(inner, {
    hello: { reply: [`${canary.answer} `, "and more"] },
    endless: { reply: [`${canary.answer} `, "for ever "], loop: true },
    picky: { reply: ["never"], template: "{{ raise_exception('refused: ' + messages[0].content) }}" },
    broken: { reply: ["never"] },
    gone: { reply: ["never"] },
  });
  const [hello = "", , , broken = "", gone = ""] = models;
  writeFileSync(broken, readFileSync(hello).subarray(0, 200_000));
  writeGguf(gone, { "general.architecture": str("none") }, []);
  keysFile = join(inner, "keys.yaml");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A server that has written into `output` all that it said, on both its streams. */
interface Watched extends AsyncDisposable {
  readonly url: string;
  readonly child: ChildProcess;
  output: string;
  stop(): Promise<void>;
}

async function start(environment: Record<string, string>): Promise<Watched> {
  const hash = createHash("sha256").update(canary.key).digest("hex");
  writeFileSync(keysFile, `- {id: user, hash: "sha256:${hash}", scopes: [admin]}\n`);
  const root = resolve(import.meta.dirname, "../..");
  const args = ["src/cli/main.ts", "serve", "--port", "0", "--models", models.join(","), "--drain-seconds", "0"];
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, LOQUI_API_KEYS_FILE: keysFile, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const watched = { output: "" };
  const url = new Promise<string>((done, fail) => {
    const take = (data: Buffer) => {
      watched.output += data.toString();
      const found = /loqui listens on (http:\S+)/.exec(watched.output)?.[1];
      if (found !== undefined) done(found);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("exit", () => fail(new Error(watched.output)));
  });
  const closed = once(child, "close");
  const stop = async () => {
    child.kill("SIGTERM");
    await closed;
  };
  return Object.assign(watched, { url: await url, child, stop, [Symbol.asyncDispose]: stop });
}

const secretHeaders = {
  authorization: `Bearer ${canary.key}`,
  "x-api-key": canary.key,
  cookie: `session=${canary.header}`,
  "user-agent": canary.header,
  "x-anything": canary.header,
};

/** Sends everything; returns all that was answered, in one text. */
async function sendAll({ url }: Watched): Promise<string> {
  const answers: string[] = [];
  const messages = [{ role: "user", content: canary.prompt }];
  const post = async (path: string, body: string | FormData, headers: Record<string, string> = {}) => {
    const type = typeof body === "string" && { "content-type": "application/json" };
    const response = await fetch(url + path, {
      method: "POST",
      body,
      headers: { ...type, ...secretHeaders, ...headers },
    });
    answers.push(JSON.stringify([...response.headers]), await response.text());
    return response.status;
  };
  const chat = (body: object, headers?: Record<string, string>) =>
    post("/v1/chat/completions", JSON.stringify({ model: "hello", messages, ...body }), headers);
  const tools = [
    { type: "function", function: { name: canary.tool, parameters: { type: "object", title: canary.argument } } },
  ];
  const toolCall = {
    id: "1",
    type: "function",
    function: { name: canary.tool, arguments: `{"a":"${canary.argument}"}` },
  };

  expect(await chat({})).toBe(200);
  expect(await chat({ stream: true })).toBe(200);
  expect(await chat({ metadata: { [canary.metadata]: canary.metadata } })).toBe(200);
  expect(await chat({ messages: [...messages, { role: "assistant", tool_calls: [toolCall] }], tools })).toBeLessThan(
    500,
  );
  expect(await chat({ tools, tool_choice: "required" })).toBeLessThan(500);
  // Refused by the rules, by the schema, by the JSON.
  expect(await chat({ temperature: 9 })).toBe(400);
  expect(await chat({ metadata: { [canary.metadata]: canary.metadata.repeat(1_000) } })).toBe(400);
  expect(await chat({ metadata: { [canary.metadata]: 1 } })).toBe(400);
  expect(await chat({ logit_bias: { [canary.member]: 1 } })).toBe(400);
  expect(await chat({ [canary.member]: canary.prompt, "x y": 1 }, { "x-loqui-strict": "1" })).toBe(400);
  expect(await chat({ messages: [{ role: canary.prompt, content: canary.prompt }] })).toBe(400);
  expect(await chat({ messages: [{ role: "user", content: { [canary.member]: 1 } }] })).toBe(400);
  expect(await chat({ chat_template_kwargs: { messages: canary.prompt } })).toBe(400);
  expect(await post("/v1/chat/completions", `{"model": "hello", "messages": [${canary.prompt}`)).toBe(400);
  expect(await post("/v1/chat/completions", canary.prompt, { "content-type": "text/csv" })).toBe(415);
  expect(await post(`/v1/chat/completions?${canary.member}=${canary.prompt}`, "{")).toBe(400);
  // Refused by the template and for the context.
  expect(await chat({ model: "picky" })).toBe(400);
  expect(await chat({ messages: [{ role: "user", content: canary.prompt.repeat(2_000) }] })).toBe(400);
  // Models that can't be loaded.
  expect(await chat({ model: "broken" })).toBe(503);
  expect(await chat({ model: "gone" })).toBe(503);
  for (const path of ["/v1/models?state=all", "/v1/models/broken", "/v1/models/hello:metrics", "/metrics", "/readyz"]) {
    answers.push(await (await fetch(url + path, { headers: secretHeaders })).text());
  }
  // Files.
  const form = new FormData();
  form.set("model", "hello");
  form.set("prompt", canary.prompt);
  form.set("file", new Blob([canary.prompt]), `${canary.file}.wav`);
  expect(await post("/v1/audio/transcriptions", form)).toBe(501);
  form.append("file", new Blob([canary.prompt]), `${canary.file}.wav`);
  form.set(canary.member, new Blob([canary.prompt]), `../../${canary.file}`);
  expect(await post("/v1/audio/transcriptions", form, { "x-loqui-strict": "1" })).toBe(400);
  expect(
    await post("/v1/audio/transcriptions", `--x\r\ncontent-disposition: form-data; name="${canary.file}`, {
      "content-type": "multipart/form-data; boundary=x",
    }),
  ).toBe(400);

  // Without a key that is valid, and for another host.
  for (const path of ["/v1/models", "/v1/embeddings", "/loqui.v1.ModelService/ListModels", "/nothing"]) {
    expect(await post(path, `"${canary.prompt}"`, { authorization: `Bearer ${wrongKey}`, "x-api-key": "" })).toBe(401);
  }

  // The other protocols, right and wrong.
  const method = "/loqui.v1.ChatService/CreateChatCompletion";
  const transports: Transport[] = [
    createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
    createConnectTransport({ baseUrl: url, httpVersion: "2", useHttpGet: true }),
    createGrpcTransport({ baseUrl: url }),
    createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }),
  ];
  const content = { content: { case: "text" as const, value: canary.prompt } };
  const request = { model: "hello", messages: [{ role: ChatRole.USER, content }] };
  const headers = { ...secretHeaders, "x-canary-bin": Buffer.from(canary.header).toString("base64") };
  for (const transport of transports) {
    const client = createClient(ChatService, transport);
    await client.createChatCompletion(request, { headers });
    for await (const _ of client.streamChatCompletion(request, { headers }));
    for (const wrong of [
      { ...request, temperature: 9 },
      { ...request, metadata: { [canary.metadata]: canary.metadata.repeat(1_000) } },
      { ...request, model: "picky" },
      { ...request, model: "broken" },
    ]) {
      const error = await client.createChatCompletion(wrong, { headers }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(Error);
      answers.push(String((error as Error).message));
    }
  }
  await post(method, `{"${canary.member}": "${canary.prompt}"`);
  await post(method, `{"${canary.member}": "${canary.prompt}"}`);
  for (const type of [
    "application/grpc",
    "application/grpc-web",
    "application/grpc-web+json",
    "application/connect+json",
  ]) {
    await post(method, `\0\0\0\0\x11${canary.prompt}`, { "content-type": type });
  }
  return answers.join("\n");
}

/** Has the server read a keys file again that holds none. */
async function spoilKeys({ child }: Watched): Promise<void> {
  writeFileSync(keysFile, `keys: ${canary.key}\n`);
  child.kill("SIGHUP");
}

/** Kills the worker of a stream in the middle of it. */
async function crash({ url, child }: Watched): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...secretHeaders },
    body: JSON.stringify({ model: "endless", stream: true, messages: [{ role: "user", content: canary.prompt }] }),
  });
  let text = "";
  for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    if (text === "") signalWorker("endless", "SIGKILL", child.pid);
    text += piece;
  }
  expect(text).toContain("worker_crashed");
  return text;
}

/** Lines that hold one of the texts. */
function linesWith(output: string, texts: readonly string[]): string[] {
  return output.split("\n").filter((line) => texts.some((text) => line.includes(text)));
}

it("at the most talkative level, the log holds none of it", { timeout: 120_000 }, async () => {
  await using server = await start({ LOQUI_LOG_LEVEL: "trace" });
  const answers = (await sendAll(server)) + (await crash(server));
  await spoilKeys(server);
  await vi.waitFor(() => expect(server.output).toContain("the keys file is refused"), 5_000);
  await server.stop();
  expect(linesWith(server.output, [...Object.values(canary), wrongKey])).toEqual([]);
  expect(linesWith(answers, [canary.key, canary.header, canary.path, wrongKey])).toEqual([]);

  // It did log: a line for every call and refusal, and what went wrong with the workers.
  const lines = server.output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  const of = (field: string, value: string) => lines.filter((line) => line[field] === value);
  expect(of("msg", "call finished").length).toBeGreaterThan(35);
  expect(of("msg", "request refused").length).toBeGreaterThan(10);
  expect(of("outcome", "worker_crashed")).toMatchObject([{ level: "error", model: "endless" }]);
  expect(of("msg", "call finished").every(({ keyId }) => keyId === "user")).toBe(true);
  expect(of("kind", "unauthenticated")).toHaveLength(4);
  expect(of("outcome", "model_unavailable").every(({ level }) => level === "warn")).toBe(true);
  expect(of("outcome", "invalid_request").every(({ level }) => level === "info")).toBe(true);
  expect(lines.filter(({ error }) => error?.param === "metadata.…").length).toBeGreaterThan(3);
  expect(lines.some(({ msg }) => /the model can't be loaded/.test(msg))).toBe(true);
});

it("LOQUI_LOG_CONTENT: requests and answers at debug, but no key, header or path", { timeout: 120_000 }, async () => {
  await using server = await start({ LOQUI_LOG_LEVEL: "debug", LOQUI_LOG_CONTENT: "1" });
  await sendAll(server);
  await crash(server);
  await spoilKeys(server);
  await server.stop();
  expect(linesWith(server.output, [canary.key, wrongKey, canary.header, canary.path])).toEqual([]);
  const lines = server.output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
  const contents = lines.filter(({ msg }) => msg === "request content" || msg === "answer content");
  expect(contents.every(({ level }) => level === "debug")).toBe(true);
  expect(contents.filter(({ request }) => request?.includes(canary.prompt)).length).toBeGreaterThan(10);
  expect(contents.filter(({ answer }) => answer?.includes(canary.answer)).length).toBeGreaterThan(10);
});
