/** The templates of real models, as llama.cpp's sources hold them: `npm run build:llama` unpacks those. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ChatMessageSchema, ChatRole, ToolSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { templateMessages, templateTools } from "../../src/worker/chat-messages.ts";
import { compileChatTemplate } from "../../src/worker/chat-template.ts";

const folder = resolve(import.meta.dirname, "../../llama/work/llama.cpp/models/templates");
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".jinja")) : [];

/** What can't be done with a template, and why. */
const limits: Readonly<Record<string, { readonly all?: string; readonly tools?: string; readonly calls?: string }>> = {
  "Apriel-1.6-15b-Thinker-fixed": { tools: "the Jinja library has no filter `string` of objects" },
  "ByteDance-Seed-OSS": { all: "the Jinja library has no integers as keys" },
  "Kimi-K2-Instruct": { calls: "the Jinja library has no `append`" },
  "Kimi-K2-Thinking": { calls: "the Jinja library has no `append`" },
  "LFM2-8B-A1B": { calls: "the template doesn't show them" },
  "LFM2.5-Instruct": { calls: "the template doesn't show them" },
  "fireworks-ai-llama-3-firefunction-v2": { all: "the template wants `datetime` and `functions`" },
  "ibm-granite-granite-3.3-2B-Instruct": { calls: "the template doesn't show them" },
  "openbmb-MiniCPM5-1B": { calls: "the Jinja library has no filter `min`" },
  "tencent-Hy3": { all: "the Jinja library has no `format`" },
  "unsloth-Apriel-1.5": { tools: "the Jinja library has no filter `string` of objects" },
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
  const template = compileChatTemplate({
    chatTemplate: readFileSync(join(folder, `${name}.jinja`), "utf8"),
    bosToken: "<s>",
    eosToken: "</s>",
    addBos: true,
  });
  const limit = limits[name];
  const render = (messages: ReturnType<typeof message>[], tools: boolean) =>
    template.render({
      messages: templateMessages(messages, template),
      tools: templateTools(tools ? [tool] : [], template),
      addGenerationPrompt: true,
    });
  const works = (why: string | undefined, run: () => boolean) => {
    let done = false;
    try {
      done = run();
    } catch (error) {
      if (why === undefined) throw error;
    }
    // One that works by now leaves the list.
    expect(done, why).toBe(why === undefined);
  };

  it("a question", () => works(limit?.all, () => render([user], false).includes("Where is it warmer?")));

  it.skipIf(!template.showsTools && limit?.tools === undefined)("tools", () =>
    works(limit?.all ?? limit?.tools, () => render([user], true).includes("weather")),
  );

  it.skipIf(!template.showsTools)("a call and its result", () =>
    works(limit?.calls, () => {
      const prompt = render([user, calling(call("call00001", "Oslo")), result("call00001", "nine degrees")], true);
      return prompt.includes("Oslo") && prompt.includes("nine degrees");
    }),
  );

  it.skipIf(!template.showsTools || !template.takesParallelCalls)("several calls and their results", () =>
    works(limit?.calls, () => {
      const [oslo, bergen] = [call("call00001", "Oslo"), call("call00002", "Bergen")];
      const results = [result("call00001", "nine degrees"), result("call00002", "twelve degrees")];
      const prompt = render([user, calling(oslo, bergen), ...results], true);
      return ["Oslo", "Bergen", "nine degrees", "twelve degrees"].every((word) => prompt.includes(word));
    }),
  );
});

it("has llama.cpp's sources", ({ skip }) => skip(names.length === 0, "llama.cpp's sources are not unpacked"));
