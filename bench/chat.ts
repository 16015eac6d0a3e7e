/**
 * Chat against llama-server, over REST with server-sent events, on random
 * models: both on the same llama.cpp, with the same flags and prompts.
 *
 *   npm run build:llama && npm run build:llama -- --server
 *   npm run bench -- chat [--model 135m|500m] [--build openmp|prebuilt] [--peer openmp|plain] [--only streams,mixed,gap,prefix,grammar]
 *     [--streams 1,4,16,64] [--slots N] [--tokens N] [--prompt 64] [--rounds 5] [--threads 2]
 *
 * Rows: `streams`, tokens per second over all streams and the median time to
 * the first token, at each number of streams; `mixed`, the same with as many
 * clients whose requests have all lengths and begin at any time; `gap`, how long
 * a stream stands still while a prompt of 3,000 tokens comes in; `prefix`, the
 * first token of a request whose first 2,000 tokens another one had; `grammar`,
 * what a grammar costs per token at a vocabulary of 152,000, on a tiny model, so
 * that sampling is what there is to see.
 *
 * Each round runs the servers in turn, in another order each time; reported are
 * medians over the rounds with the lowest and the highest, and the median of
 * the rounds' ratios to llama-server. `--build` says what loqui runs on: the
 * local build or npm's binary; `--peer` what llama-server was built with. The
 * machine should have nothing else to do: both servers, their client and their
 * threads want all of it.
 */
import { parseArgs } from "node:util";
import { benchGap } from "./chat/gap.ts";
import { benchGrammar } from "./chat/grammar.ts";
import { benchMixed } from "./chat/mixed.ts";
import { benchPrefix } from "./chat/prefix.ts";
import { type LoquiBuild, type PeerBuild, type Side, startSides } from "./chat/sides.ts";
import { benchThroughput } from "./chat/throughput.ts";
import { type RandomModel, randomModel } from "./models/random-models.ts";

const models = { "135m": "135m-q8_0", "500m": "500m-q8_0" } as const satisfies Record<string, RandomModel>;

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "135m" },
    build: { type: "string", default: "openmp" },
    peer: { type: "string", default: "openmp" },
    only: { type: "string", default: "streams,mixed,gap,prefix,grammar" },
    streams: { type: "string", default: "1,4,16,64" },
    slots: { type: "string" },
    tokens: { type: "string" },
    prompt: { type: "string", default: "64" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
  },
});
const model = oneOf("model", values.model, Object.keys(models) as (keyof typeof models)[]);
const build = oneOf<LoquiBuild>("build", values.build, ["openmp", "prebuilt"]);
const peer = oneOf<PeerBuild>("peer", values.peer, ["openmp", "plain"]);
const rows = values.only
  .split(",")
  .map((row) => oneOf("only", row, ["streams", "mixed", "gap", "prefix", "grammar"] as const));
const streamCounts = values.streams.split(",").map((text) => count("streams", text));
const rounds = count("rounds", values.rounds);
const threads = count("threads", values.threads);
const slots = values.slots === undefined ? Math.max(...streamCounts) : count("slots", values.slots);
const promptTokens = count("prompt", values.prompt);

// What was started ends with the bench, however that ends.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
if (rows.includes("streams") || rows.includes("mixed")) {
  await onSides({ model: models[model], slots, contextLength: 1024 }, async (sides) => {
    if (rows.includes("mixed")) for (const clients of streamCounts) await benchMixed(sides, { clients, rounds });
    for (const streams of rows.includes("streams") ? streamCounts : []) {
      const tokens = values.tokens === undefined ? tokensFor(streams) : count("tokens", values.tokens);
      await benchThroughput(sides, { streams, promptTokens, tokens, rounds });
    }
  });
}
if (rows.includes("gap") || rows.includes("prefix")) {
  await onSides({ model: models[model], slots: 4, contextLength: 8192 }, async (sides) => {
    if (rows.includes("gap")) await benchGap(sides, { promptTokens: 3000, rounds });
    if (rows.includes("prefix")) await benchPrefix(sides, { prefixTokens: 2000, rounds });
  });
}
if (rows.includes("grammar")) {
  await onSides({ model: "tiny-152k", slots: 1, contextLength: 1024 }, async (sides) => {
    await benchGrammar(sides, { tokens: 128, rounds });
  });
}
process.exit(0);

async function onSides(
  shape: { readonly model: RandomModel; readonly slots: number; readonly contextLength: number },
  measure: (sides: readonly Side[]) => Promise<void>,
): Promise<void> {
  const { model, slots, contextLength } = shape;
  console.log(`\nrandom-${model}, ${slots} sequences of ${contextLength} tokens, ${threads} threads`);
  const sides = await startSides({ ...shape, model: randomModel(model), threads }, build, peer);
  try {
    await measure(sides);
  } finally {
    for (const side of sides) await side.stop();
  }
}

/** Tokens a stream, so that a round takes seconds with many streams too. */
function tokensFor(streams: number): number {
  return Math.max(16, Math.min(64, Math.round((model === "135m" ? 2048 : 512) / streams)));
}

function oneOf<T extends string>(flag: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value);
  if (found === undefined) throw new Error(`--${flag} ${value} is not one of ${known.join(", ")}`);
  return found;
}

function count(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} ${text} is not a positive whole number`);
  return value;
}
