// Holds the GGUF against PyTorch and against itself: `node training/tiny-chat/verify.mjs [MODEL.gguf]`.
// Prints one line a check and every chat answer; exits 1 when a check fails.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Template } from "@huggingface/jinja";
import { getLlama } from "node-llama-cpp";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const readJson = (path) => JSON.parse(readFileSync(here(path), "utf8"));

const modelPath = process.argv[2] ?? here("../../models/tiny-chat/tiny-chat-q8_0.gguf");
const fixture = readJson("./fixtures/pytorch.json");
const prompts = readJson("./fixtures/prompts.json");

const MAX_ANSWER_TOKENS = 128;
/** Largest accepted difference of a logit: llama.cpp rounds activations to 8 bits, PyTorch does not. */
const LOGIT_TOLERANCE = 0.35;
const SAMPLES = 5;

const llama = await getLlama({ gpu: false, build: "never", skipDownload: true });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 2048, threads: 1 });
const sequence = context.getSequence();
const template = new Template(model.fileInfo.metadata.tokenizer.chat_template);

let failures = 0;
function report(name, passed, total, detail = "") {
  if (passed < total) failures++;
  console.log(`${passed < total ? "FAIL" : "ok  "} ${name}: ${passed} of ${total}${detail && ` (${detail})`}`);
}

/** Continues `tokens`; resolves to the generated ids and whether the end token came within the limit. */
async function generate(tokens, options = { temperature: 0 }, limit = MAX_ANSWER_TOKENS) {
  await sequence.clearHistory();
  const made = [];
  for await (const token of sequence.evaluate(tokens, { ...options, yieldEogToken: true })) {
    made.push(token);
    if (token === model.tokens.eos || made.length >= limit) break;
  }
  return { made, ended: made.at(-1) === model.tokens.eos };
}

/** Answers a chat; special tokens are read in the template only, as one text here because the prompts hold none. */
async function chat(messages, options) {
  const tokens = model.tokenize(template.render({ messages, add_generation_prompt: true }), true);
  const { made, ended } = await generate(tokens, options);
  return { text: model.detokenize(ended ? made.slice(0, -1) : made), ended, promptTokens: tokens.length };
}

const isSentence = (text) => /^[\p{Lu}\d"'{[-]|^loqui/u.test(text) && /[.!?}\])"]$/.test(text);

function checkTokenizer() {
  const wrong = fixture.texts.filter(({ text, ids }) => model.tokenize(text, true).join() !== ids.join());
  report("token ids agree with tokenizers", fixture.texts.length - wrong.length, fixture.texts.length);
  for (const { text, ids } of wrong.slice(0, 5))
    console.log(JSON.stringify({ text, ids, got: model.tokenize(text, true) }));
}

async function checkNumbers() {
  let agreeing = 0;
  let worst = 0;
  for (const { ids, greedy, top } of fixture.continuations) {
    await sequence.clearHistory();
    const logits = { filter: { tokens: top.map(([id]) => id) } };
    const last = [ids.at(-1), { generateNext: { logits, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } }];
    const results = await sequence.controlledEvaluate([...ids.slice(0, -1), last]);
    for (const [id, logit] of top) worst = Math.max(worst, Math.abs(results.at(-1).next.logits.get(id) - logit));
    const { made } = await generate(ids, { temperature: 0 }, greedy.length);
    if (made.join() === greedy.join()) agreeing++;
    else console.log(`PyTorch: ${model.detokenize(greedy)}\nllama:   ${model.detokenize(made)}`);
  }
  report("greedy continuations agree with PyTorch", agreeing, fixture.continuations.length);
  report(
    "top logits agree with PyTorch",
    worst <= LOGIT_TOLERANCE ? 1 : 0,
    1,
    `largest difference ${worst.toFixed(3)}`,
  );
}

async function checkAnswers() {
  const tally = { ended: 0, sentences: 0, expected: 0 };
  for (const { group, system, user, expect } of prompts) {
    const messages = [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: user }];
    const { text, ended } = await chat(messages);
    const fits = new RegExp(expect, "i").test(text);
    tally.ended += ended;
    tally.sentences += isSentence(text);
    tally.expected += fits;
    console.log(`  ${fits ? " " : "?"} [${group}] ${user} → ${text}${ended ? "" : " …"}`);
  }
  report("greedy answers end", tally.ended, prompts.length);
  report("greedy answers are sentences", tally.sentences, prompts.length);
  console.log(`     greedy answers as expected: ${tally.expected} of ${prompts.length}`);
}

async function checkSampling() {
  const tally = { ended: 0, sentences: 0 };
  for (const { user } of prompts) {
    for (let seed = 1; seed <= SAMPLES; seed++) {
      const { text, ended } = await chat([{ role: "user", content: user }], { temperature: 0.7, seed });
      tally.ended += ended;
      tally.sentences += isSentence(text);
      if (!ended || !isSentence(text)) console.log(`  ? ${user} → ${text}`);
    }
  }
  const total = prompts.length * SAMPLES;
  console.log(`     at temperature 0.7: ${tally.ended} of ${total} end, ${tally.sentences} are sentences`);
}

async function checkLongPrompts() {
  const sentence =
    "The committee met on Tuesday to discuss the budget, and after two hours nobody agreed on anything. ";
  const long = [
    `${sentence.repeat(20)}\n\nSummarize this text.`,
    `Please read this:\n\n${sentence.repeat(45)}`,
    `${"const total = items.reduce((sum, item) => sum + item.price, 0);\n".repeat(30)}\nWhat does this code do?`,
    `${sentence.repeat(20)}\n\nWhat is the capital of France?`,
  ].map((user) => [{ role: "user", content: user }]);
  long.push(
    Array.from({ length: 41 }, (_, i) =>
      i % 2
        ? { role: "assistant", content: "I am fine, thank you!" }
        : { role: "user", content: i === 40 ? "What is 2 + 3?" : "How are you?" },
    ),
  );
  let ends = 0;
  for (const messages of long) {
    const { text, ended, promptTokens } = await chat(messages);
    ends += ended;
    console.log(`    ${promptTokens} tokens … ${messages.at(-1).content.slice(-40)} → ${text}`);
  }
  report("answers to long prompts end", ends, long.length);
}

checkTokenizer();
await checkNumbers();
await checkAnswers();
await checkSampling();
await checkLongPrompts();
await llama.dispose();
process.exit(failures ? 1 : 0);
