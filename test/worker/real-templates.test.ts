/** The templates of real models, as llama.cpp's sources hold them: `npm run build:llama` unpacks those. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  ChatMessageSchema,
  ChatRole,
  CreateChatCompletionRequestSchema,
  ToolSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { createChatPrompts } from "../../src/worker/chat-prompt.ts";
import { compileChatTemplate } from "../../src/worker/chat-template.ts";
import { FakeEngine } from "./fake-engine.ts";

const folder = resolve(import.meta.dirname, "../../llama/work/llama.cpp/models/templates");
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".jinja")) : [];

/** What can't be done with a template, and why. */
const limits: Readonly<Record<string, string>> = {
  "ByteDance-Seed-OSS": "the Jinja library has no integers as keys",
  "fireworks-ai-llama-3-firefunction-v2": "the template wants `datetime` and `functions`",
  "tencent-Hy3": "the Jinja library has no `format`",
};

/** What is told in texts, since the template doesn't show it, or not with this Jinja library. */
const told: Readonly<Record<string, readonly string[]>> = {
  "Apriel-1.6-15b-Thinker-fixed": ["tools", "calls", "results"],
  "ByteDance-Seed-OSS": ["tools", "calls", "results"],
  "HuggingFaceTB-SmolLM3-3B": ["tools", "calls", "results"],
  "Kimi-K2-Instruct": ["calls"],
  "Kimi-K2-Thinking": ["calls"],
  "LFM2-8B-A1B": ["calls"],
  "LFM2.5-Instruct": ["calls"],
  "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": ["tools", "calls", "results"],
  "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ["tools", "calls", "results"],
  "deepseek-ai-DeepSeek-V3.1": ["tools", "calls", "results"],
  "fireworks-ai-llama-3-firefunction-v2": ["tools", "calls", "results"],
  "google-gemma-2-2b-it": ["tools", "calls", "results"],
  "ibm-granite-granite-3.3-2B-Instruct": ["calls"],
  "llama-cpp-rwkv-world": ["tools", "calls", "results"],
  "microsoft-Phi-3.5-mini-instruct": ["tools", "calls", "results"],
  "openbmb-MiniCPM5-1B": ["calls"],
  "tencent-Hy3": ["tools", "calls", "results"],
  "unsloth-Apriel-1.5": ["tools", "calls", "results"],
};

const text = (value: string) => ({ content: { case: "text", value } }) as const;
const message = (init: MessageInitShape<typeof ChatMessageSchema>) => create(ChatMessageSchema, init);
const user = message({ role: ChatRole.USER, content: text("Where is it warmer?") });
const call = (id: string, city: string) =>
  ({ id, call: { case: "function", value: { name: "weather", arguments: JSON.stringify({ city }) } } }) as const;
const calling = (...toolCalls: ReturnType<typeof call>[]) => message({ role: ChatRole.ASSISTANT, toolCalls });
const result = (toolCallId: string, value: string) =>
  message({ role: ChatRole.TOOL, toolCallId, name: "weather", content: text(value) });
/** Nothing is described: clients may leave it out. */
const tool = create(ToolSchema, {
  tool: {
    case: "function",
    value: {
      name: "weather",
      parameters: '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
    },
  },
});

describe.each(names.map((name) => name.replace(/\.jinja$/, "")))("%s", (name) => {
  const source = readFileSync(join(folder, `${name}.jinja`), "utf8");
  const info = { ...new FakeEngine().info, bosToken: "<s>", eosToken: "</s>", addBos: true };
  const template = compileChatTemplate({ ...info, chatTemplate: source });
  const prompts = createChatPrompts(info, source);
  const limit = limits[name];
  const works = (messages: ReturnType<typeof message>[], tools: boolean, ...words: string[]) => {
    let prompt = "";
    try {
      prompt = prompts.render(create(CreateChatCompletionRequestSchema, { messages, tools: tools ? [tool] : [] }));
    } catch (error) {
      if (limit === undefined) throw error;
    }
    const missing = words.filter((word) => !prompt.includes(word));
    // One that works by now leaves the list.
    if (limit === undefined) expect(missing, prompt).toEqual([]);
    else expect(missing, limit).not.toEqual([]);
  };

  it("is told what it doesn't show", () => {
    expect(
      Object.entries(template.told)
        .filter(([, isTold]) => isTold)
        .map(([what]) => what),
    ).toEqual(told[name] ?? []);
  });

  it("a question", () => works([user], false, "Where is it warmer?"));

  it("tools", () => works([user], true, "Where is it warmer?", "weather"));

  it("a call and its result", () => {
    const messages = [user, calling(call("call00001", "Oslo")), result("call00001", "nine degrees")];
    works(messages, true, "Where is it warmer?", "weather", "Oslo", "nine degrees");
  });

  it.skipIf(!template.takesParallelCalls)("several calls and their results", () => {
    const [oslo, bergen] = [call("call00001", "Oslo"), call("call00002", "Bergen")];
    const results = [result("call00001", "nine degrees"), result("call00002", "twelve degrees")];
    works([user, calling(oslo, bergen), ...results], true, "Oslo", "Bergen", "nine degrees", "twelve degrees");
  });
});

it("has llama.cpp's sources", ({ skip }) => skip(names.length === 0, "llama.cpp's sources are not unpacked"));
