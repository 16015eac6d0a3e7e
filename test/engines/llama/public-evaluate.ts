/**
 * Prints what node-llama-cpp's public API generates, as JSON: a list of tokens
 * for each prompt. A process of its own, since its JavaScript takes over the
 * addon's logger. OPTIONS are those of `evaluate`, as JSON.
 *
 *   node public-evaluate.ts MODEL COUNT OPTIONS PROMPT…
 */
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [path = "", count = "0", options = "{}", ...prompts] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: 512, threads: 1 });
const sequence = context.getSequence();
const replies: number[][] = [];
for (const prompt of prompts) {
  await sequence.clearHistory();
  const reply: number[] = [];
  for await (const token of sequence.evaluate(model.tokenize(prompt, true), JSON.parse(options))) {
    reply.push(token);
    if (reply.length === Number(count)) break;
  }
  replies.push(reply);
}
console.log(JSON.stringify(replies));
