/**
 * Prints all logits that node-llama-cpp's public API gives after each of some
 * tokens, as JSON: a list per token, by token id. A process of its own, since
 * its JavaScript takes over the addon's logger.
 *
 *   node public-logits.ts MODEL TOKEN…
 */
import { getLlama, LlamaLogLevel, type Token } from "node-llama-cpp";

const [path = "", ...tokens] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: 512, threads: 1 });
const outputs = await context
  .getSequence()
  .controlledEvaluate(
    tokens.map((token) => [Number(token) as Token, { generateNext: { logits: true, options: { temperature: 0 } } }]),
  );
const logits = outputs.map((output) => {
  const byToken: number[] = [];
  for (const [token, logit] of output?.next.logits ?? []) byToken[token] = logit;
  return byToken;
});
console.log(JSON.stringify(logits));
