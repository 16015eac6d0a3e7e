/**
 * Reranking against sentence-transformers' CrossEncoder behind FastAPI and
 * infinity-emb, on the same random weights of MiniLM's shape, cores and texts.
 *
 *   sh bench/embedding/peers.sh FOLDER
 *   npm run bench -- rerank --peers FOLDER [--sides loqui,sentence-transformers,infinity]
 *     [--concurrency 1,4,16] [--documents 16] [--count 16] [--rounds 6] [--threads 2] [--batch 512]
 *
 * Requests of a query of about 16 tokens and so many documents of 16 to about
 * 480, as bench/embedding.ts measures its requests: documents per second, the
 * 95th percentile of the requests' times, and the servers' CPU time per document.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchRequests } from "./embedding/requests.ts";
import { type SideName, sideNames, startSides } from "./embedding/sides.ts";
import { readTexts } from "./embedding/texts.ts";

const { values } = parseArgs({
  options: {
    peers: { type: "string" },
    sides: { type: "string", default: sideNames.join() },
    concurrency: { type: "string", default: "1,4,16" },
    documents: { type: "string", default: "16" },
    count: { type: "string", default: "16" },
    rounds: { type: "string", default: "6" },
    threads: { type: "string", default: "2" },
    batch: { type: "string", default: "512" },
  },
});
if (values.peers === undefined) throw new Error("--peers FOLDER is missing: what bench/embedding/peers.sh has filled");
const [documents, count, rounds, threads, batchTokens] = [
  values.documents,
  values.count,
  values.rounds,
  values.threads,
  values.batch,
].map(Number) as [number, number, number, number, number];
const names = sideNames.filter((name): name is SideName => values.sides.split(",").includes(name));

// What was started ends with the bench, however that ends.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const model = join(values.peers, "models/minilm-rerank");
console.log(`\n${model}, ${threads} threads, batches of ${batchTokens} tokens, ${documents} documents a request`);
const texts = readTexts(model).filter(({ tokens }) => tokens <= 480);
const requests = Array.from({ length: count }, (_, index) => {
  const first = (index * documents) % (texts.length - documents);
  const query = texts[(7 * index) % texts.length]?.text.split(" ").slice(0, 8).join(" ") ?? "";
  return [query, ...texts.slice(first, first + documents).map(({ text }) => text)];
});
await using servers = await startSides(names, { type: "rerank", model, threads, batchTokens, peers: values.peers });
for (const concurrency of values.concurrency.split(",").map(Number)) {
  await benchRequests(servers.sides, { requests, each: documents, unit: "documents", concurrency, rounds });
}
await servers[Symbol.asyncDispose]();
process.exit(0);
