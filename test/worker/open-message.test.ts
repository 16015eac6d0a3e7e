import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ChatMessageSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import { compileChatTemplate, type TemplateMessage } from "../../src/worker/chat-template.ts";
import { renderPrompt } from "../../src/worker/open-message.ts";

const source = { chatTemplate: undefined, bosToken: "<s>", eosToken: "</s>", addBos: false };
const question: TemplateMessage = { role: "user", content: "Q" };

function render(messages: readonly TemplateMessage[], request: object, chatTemplate?: string): string {
  const template = compileChatTemplate({ ...source, chatTemplate });
  return renderPrompt(template, { messages }, { messages: [], ...request });
}

const goOn = { continueFinalMessage: true };
/** The last message alone, with what a template makes of white space and reasoning. */
const last = (body: string) => `{% for message in messages %}{% if loop.last %}${body}</s>{% endif %}{% endfor %}`;

describe("the end of a prompt", () => {
  const answer: TemplateMessage = { role: "assistant", content: "Once upon" };
  const chatml = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nOnce upon";
  test.each([
    { request: {}, text: `${chatml}<|im_end|>\n<|im_start|>assistant\n` },
    { request: { addGenerationPrompt: false }, text: `${chatml}<|im_end|>\n` },
    { request: goOn, text: chatml },
    { request: { ...goOn, addGenerationPrompt: false }, text: chatml },
    { request: { continueFinalMessage: false }, text: `${chatml}<|im_end|>\n<|im_start|>assistant\n` },
  ])("$request", ({ request, text }) => {
    expect(render([question, answer], request)).toBe(text);
  });
});

describe("a message that is continued", () => {
  const said = (content: TemplateMessage["content"], more: Partial<TemplateMessage> = {}) => [
    question,
    { role: "assistant", content, ...more },
  ];
  const thinking = last(
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }}",
  );
  const parts = last("{% for part in message.content %}{{ part.text }}{% endfor %}");

  test.each([
    { what: "keeps its white space", messages: said("a \n"), template: last("{{ message.content }}"), text: "a \n" },
    {
      what: "that the template trims",
      messages: said(" a \n"),
      template: last("{{ message.content | trim }}"),
      text: "a",
    },
    { what: "of parts", messages: said([{ type: "text", text: "a b" }]), template: parts, text: "a b" },
    { what: "is empty", messages: said(""), template: last(">{{ message.content }}"), text: ">" },
    {
      what: "has only reasoning",
      messages: said("", { reasoning_content: "so" }),
      template: thinking,
      text: "<think>so",
    },
    {
      what: "has reasoning and text",
      messages: said("a", { reasoning_content: "so" }),
      template: thinking,
      text: "<think>so</think>a",
    },
    {
      what: "has the same text as another",
      messages: [question, { role: "assistant", content: "Q" }],
      template: "{% for message in messages %}{{ message.content }}</s>{% endfor %}",
      text: "Q</s>Q",
    },
  ])("$what", ({ messages, template, text }) => {
    expect(render(messages, goOn, template)).toBe(text);
  });

  test.each([
    {
      what: "both",
      messages: said("a"),
      request: { ...goOn, addGenerationPrompt: true },
      kind: "invalid_request",
      why: "excludes add_generation_prompt",
    },
    { what: "a user's", messages: [question], kind: "invalid_request", why: "the last message is not an assistant's" },
    {
      what: "one with calls, told in its text",
      messages: said('a {"tool_calls": []}'),
      request: { ...goOn, messages: [create(ChatMessageSchema, { toolCalls: [{ id: "1" }] })] },
      kind: "invalid_request",
      why: "the last message calls tools",
    },
    {
      what: "one that isn't shown",
      messages: said("a"),
      template: "{{ messages[0].content }}",
      kind: "unsupported",
      why: "this model's template doesn't show the last message",
    },
  ])("$what is refused", ({ messages, request = goOn, template, kind, why }) => {
    let error: unknown;
    try {
      render(messages, request, template);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(LoquiError);
    const param = "continue_final_message";
    expect(error).toMatchObject({ kind, param, message: `${param}: ${why}` });
  });
});
