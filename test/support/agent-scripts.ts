import type { Script } from "./scripted-model.ts";

/**
 * Hermes' syntax, as Qwen has it. How many rounds of tool calls came before is
 * told by a control token, so that a script can say something else after each.
 */
const toolTemplate = `{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools> Answer in <tool_call></tool_call>.<|im_end|>
{% endif %}{%- set seen = namespace(rounds=0) -%}
{%- for message in messages -%}
{%- if message.tool_calls %}{% set seen.rounds = seen.rounds + 1 %}{% endif -%}
<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if seen.rounds > 0 %}<|round_{{ seen.rounds }}|>{% endif %}{% endif %}`;

/** The same, of a model that makes one call at a time, as Llama 3's. */
const oneCallTemplate = `{%- for message in messages %}{% if (message.tool_calls or []) | length > 1 -%}
{{ raise_exception("This model only supports single tool-calls at once!") }}
{%- endif %}{% endfor -%}
${toolTemplate}`;

const agentReplies = {
  reply: [
    ...["I ", "look.", "\n<tool_call>\n", '{"name": "wea', 'ther", "arguments": {"ci', 'ty": "Os', 'lo"}}', "\n</tool"],
    ...["_call>\n<tool_call>", '\n{"name": "weather"', ', "arguments": {"city"', ': "Bergen"', "}}\n", "</tool_call>"],
  ],
  replies: {
    "<|round_1|>": ["<tool_call>", '{"name": "subtract", ', '"arguments": {"a": 12, ', '"b": 9}}', "\n</tool_call>"],
    "<|round_2|>": ["Bergen ", "is 3 °", "C warmer", " than ", "Oslo", "."],
  },
};

/** What {@link agentScripts}' `agent` says when all tools have answered. */
export const agentAnswer = "Bergen is 3 °C warmer than Oslo.";

/**
 * Models for clients that run tools and read structured output. `agent` calls
 * `weather` for Oslo and Bergen at once, then `subtract`, then answers; `serial`
 * would too, but for its template; `person` writes a JSON object.
 */
export const agentScripts = {
  agent: { template: toolTemplate, ...agentReplies },
  serial: { template: oneCallTemplate, ...agentReplies },
  person: { reply: ['{"name":', ' "Ada",', ' "age":', " 36,", ' "tags":', " [", '"first"', "]", "}"] },
} satisfies Record<string, Script>;
