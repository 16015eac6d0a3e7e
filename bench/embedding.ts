/**
 * Embeddings against sentence-transformers behind FastAPI and infinity-emb, on
 * the same random weights, cores and texts.
 *
 *   sh bench/embedding/peers.sh FOLDER
 *   npm run bench -- embedding --peers FOLDER [--only requests,overhead,protocol,memory,padding] [--model minilm|bge-m3]
 *     [--sides loqui,sentence-transformers,infinity] [--concurrency 1,16,64] [--texts 96] [--rounds 6]
 *     [--threads 2] [--batch 512] [--requests 100000] [--quantization int8]
 *
 * Rows: `requests`, requests of one text of 16 to 512 tokens, so many at a time:
 * texts per second, the 95th percentile of their times, and the servers' CPU
 * time per text; `overhead`, requests of 32 texts against the bare session in a
 * process of its own; `protocol`, 1,000 vectors of 1,024 numbers, packed and
 * not, over gRPC and REST, less what a tiny model takes for them; `memory`, the
 * processes' sizes over so many requests; `padding`, what part of the batches
 * is none of the texts.
 *
 * Each round runs the sides in turn, in another order each time. Reported are
 * medians over the rounds with the lowest and the highest, and the median of
 * the rounds' ratios to the first side. On a machine that others use too, the
 * CPU time says more than the clock.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchMemory } from "./embedding/memory.ts";
import { benchOverhead } from "./embedding/overhead.ts";
import { reportPadding } from "./embedding/padding.ts";
import { benchProtocol } from "./embedding/protocol.ts";
import { benchRequests } from "./embedding/requests.ts";
import { type SideName, type Sides, sideNames, startSides } from "./embedding/sides.ts";
import { readTexts } from "./embedding/texts.ts";

const { values } = parseArgs({
  options: {
    peers: { type: "string" },
    only: { type: "string", default: "requests,overhead,protocol,memory,padding" },
    model: { type: "string", default: "minilm" },
    sides: { type: "string", default: sideNames.join() },
    concurrency: { type: "string", default: "1,16,64" },
    texts: { type: "string", default: "96" },
    rounds: { type: "string", default: "6" },
    threads: { type: "string", default: "2" },
    batch: { type: "string", default: "512" },
    requests: { type: "string", default: "100000" },
    quantization: { type: "string" },
  },
});
if (values.peers === undefined) throw new Error("--peers FOLDER is missing: what bench/embedding/peers.sh has filled");
const { peers } = values;
const rows = values.only.split(",");
const rounds = count("rounds", values.rounds);
const threads = count("threads", values.threads);
const batchTokens = count("batch", values.batch);
const quantization = values.quantization === "int8" ? "int8" : undefined;
if (values.quantization !== quantization) throw new Error(`--quantization ${values.quantization} is not int8`);
if (quantization !== undefined && values.only !== "requests") throw new Error("--quantization is for --only requests");
const names = values.sides.split(",").map((name): SideName => {
  const found = sideNames.find((side) => side === name);
  if (found === undefined) throw new Error(`--sides ${name} is not one of ${sideNames.join(", ")}`);
  return found;
});

// What was started ends with the bench, however that ends.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const model = join(peers, "models", values.model);
const wide = join(peers, "models", "wide");
if (rows.includes("requests")) {
  await using servers = await start(names, model);
  const texts = readTexts(model)
    .slice(0, count("texts", values.texts))
    .map(({ text }) => [text]);
  for (const concurrency of values.concurrency.split(",").map((text) => count("concurrency", text))) {
    await benchRequests(servers.sides, { requests: texts, each: 1, unit: "texts", concurrency, rounds });
  }
}
if (rows.includes("overhead")) {
  await using servers = await start(["loqui"], model);
  await benchOverhead(servers.sides, { model, texts: readTexts(model), threads, batchTokens, rounds });
}
if (rows.includes("protocol")) {
  await using servers = await start(["loqui"], wide);
  await benchProtocol(servers.sides, { model: wide, threads, batchTokens, rounds });
}
if (rows.includes("memory")) {
  await using servers = await start(["loqui"], wide);
  await benchMemory(servers.sides, readTexts(wide), count("requests", values.requests));
}
if (rows.includes("padding")) {
  for (const concurrency of [1, 16, 64]) await reportPadding(readTexts(model), concurrency, batchTokens);
}
process.exit(0);

function start(sides: readonly SideName[], folder: string): Promise<Sides> {
  console.log(`\n${folder}, ${threads} threads, batches of ${batchTokens} tokens`);
  return startSides(sides, { type: "embedding", model: folder, threads, batchTokens, quantization, peers });
}

function count(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} ${text} is not a positive whole number`);
  return value;
}
