/**
 * A worker: loads one model and answers calls for it on a Unix socket, in a
 * process of its own. Started by src/backends/worker with `worker --model ID
 * --socket PATH` (the path of a socket that doesn't exist yet, in a folder of
 * the parent's own) and an IPC channel, over which its configuration comes and
 * the parent asks for its pulse; when the channel closes, the parent is gone and
 * the worker goes too.
 *
 * SIGTERM and SIGKILL end it at once: what has to be drained is drained by the
 * parent. Any error that nobody handles ends it too, with an exit code.
 */
import { createHash } from "node:crypto";
import { rmdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import type { PairEngine } from "../engines/pair-engine.ts";
import type { TextEngine } from "../engines/text-engine.ts";
import type { TokenEngine } from "../engines/token-engine.ts";
import { traceLine } from "../error-trace.ts";
import { toLoquiError } from "../errors.ts";
import { answerCall, type Complain } from "./answer-call.ts";
import { type BatchLimits, createBatcher } from "./batcher.ts";
import { createChatPrompts } from "./chat-prompt.ts";
import { createChatMethods } from "./chat-service.ts";
import { createCompletionMethods } from "./completion-service.ts";
import { createTextBatcher } from "./embedding-batches.ts";
import { createEmbeddingMethods } from "./embedding-service.ts";
import { openPairEngine, openTextEngine, openTokenEngine, taskOf } from "./engines.ts";
import { createGenerator } from "./generator.ts";
import {
  ownerSocket,
  type WorkerConfig,
  type WorkerInfo,
  type WorkerLimits,
  type WorkerLoad,
  type WorkerMessage,
  type WorkerModel,
  type WorkerOrder,
} from "./ipc.ts";
import { reportLoad } from "./load-report.ts";
import type { WorkerMethods } from "./method.ts";
import { createPace } from "./pace.ts";
import { countPairEngine, countTextEngine, countTokenEngine, createWorkCounter } from "./pulse.ts";
import { createRerankMethods } from "./rerank-service.ts";
import { createScheduler } from "./scheduler.ts";
import { createTeiEmbeddingMethods } from "./tei-embedding-service.ts";
import { createTokenizationMethods } from "./tokenization.ts";

const { values } = parseArgs({
  allowPositionals: true,
  options: { model: { type: "string" }, socket: { type: "string" } },
});
const socketPath = values.socket;
if (process.send === undefined || socketPath === undefined) {
  console.error("a worker is started by loqui, not by hand");
  process.exit(2);
}

// Node would print the error's message, which may quote a request.
process.on("uncaughtException", (error) => {
  console.error(`ended by an error that nobody handled: ${traceLine(error, false)}`);
  process.exit(1);
});
// Ctrl-C goes to the whole process group; the parent decides what becomes of it.
process.on("SIGINT", () => {});
process.once("disconnect", leave);
const work = createWorkCounter();
process.on("message", (order: WorkerOrder) => {
  if (order.type === "ping") send({ type: "pulse", pulse: work.pulse() });
  else void start(order.config, socketPath);
});
// The parent may have gone before there was anybody to notice.
if (!process.connected) leave();

async function start(config: WorkerConfig, path: string): Promise<void> {
  let served: Served;
  try {
    served = await serve(config, path);
  } catch (reason) {
    const error = toLoquiError(reason);
    if (error.kind === "internal") console.error(traceLine(error.cause ?? error, config.logContent));
    const message = error.kind === "internal" ? "the model can't be loaded; the log says why" : error.message;
    return send({ type: "failed", message, kind: error.kind }, () => process.exit(1));
  }
  send({ type: "ready", info: served.info });
  reportLoad(served.load, (load) => send({ type: "load", load }));
}

/** A model that answers. */
interface Served {
  readonly info: WorkerInfo;
  readonly methods: WorkerMethods;
  readonly load: () => Omit<WorkerLoad, "residentBytes">;
}

async function serve(config: WorkerConfig, path: string): Promise<Served> {
  const { model, limits, logContent } = config;
  const served = await { texts: serveTexts, pairs: servePairs, tokens: serveTokens }[taskOf(model)](config);
  const complain: Complain = (where, error) => console.error(`${where}: ${traceLine(error, logContent)}`);
  const pace = createPace(limits.streamIntervalMs);
  const server = createServer((socket) => answerCall(socket, served.methods, pace, work, complain));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  return served;
}

async function serveTokens({ model, limits }: WorkerConfig): Promise<Served> {
  const engine = countTokenEngine(await openTokenEngine(model), work);
  const { sequences, contextLength } = engine;
  const scheduler = createScheduler(engine, {
    maxQueuedRequests: limits.maxQueuedRequests,
    maxQueuedTokens: limits.maxQueuedTokens ?? 4 * sequences * contextLength,
    pieceTokens: limits.pieceTokens,
  });
  const { defaults } = model;
  const { maxOutputTokens } = limits;
  const prompts = createChatPrompts(engine.info, model.chatTemplate);
  const generator = createGenerator({ engine, scheduler, defaults, maxOutputTokens });
  const fingerprint = fingerprintOf(model, engine);
  const methods: WorkerMethods = new Map([
    ...createChatMethods({ generator, prompts, defaults, fingerprint }),
    ...createCompletionMethods({ engine, generator, fingerprint }),
    ...createTokenizationMethods({ engine, prompts, maxWaiting: limits.maxQueuedRequests }),
  ]);
  const { architecture, parameters, sizeBytes, threads, license, description } = engine.info;
  return {
    info: {
      ...{ architecture, parameters, sizeBytes, contextLength, threads, license, description },
      sequences,
      shown: prompts.shown,
    },
    methods,
    load: () => scheduler.load,
  };
}

/** Tokens that wait where the configuration says nothing: a few minutes' work on a small machine. */
const maxQueuedTextTokens = 1_048_576;

async function serveTexts({ model, limits }: WorkerConfig): Promise<Served> {
  const engine = countTextEngine(await openTextEngine(model), work);
  const batcher = createTextBatcher(engine, batchLimits(engine, model, limits));
  return {
    info: textInfo(engine),
    methods: new Map([
      ...createEmbeddingMethods({ engine, batcher }),
      ...createTeiEmbeddingMethods({ engine, batcher }),
    ]),
    load: () => batcher.load,
  };
}

async function servePairs({ model, limits }: WorkerConfig): Promise<Served> {
  const engine = countPairEngine(await openPairEngine(model), work);
  const batcher = createBatcher(1, engine.score, batchLimits(engine, model, limits));
  return {
    info: textInfo(engine),
    methods: createRerankMethods({ engine, batcher }),
    load: () => batcher.load,
  };
}

function batchLimits(
  { lanes, aloneAbove }: TextEngine | PairEngine,
  { batchSize }: WorkerModel,
  { maxQueuedRequests, maxQueuedTokens }: WorkerLimits,
): BatchLimits {
  return {
    batchTokens: batchSize,
    lanes,
    aloneAbove,
    maxRequests: maxQueuedRequests,
    maxTokens: maxQueuedTokens ?? maxQueuedTextTokens,
  };
}

function textInfo({ info, contextLength }: TextEngine | PairEngine): WorkerInfo {
  const { architecture, parameters, sizeBytes, threads } = info;
  return { architecture, parameters, sizeBytes, contextLength, threads };
}

/** Of the model's shape and how it is loaded; files of one shape with other weights have the same. */
function fingerprintOf({ chatTemplate, defaults }: WorkerModel, engine: TokenEngine): string {
  const { contextLength, sequences, batchSize, info } = engine;
  const configuration = JSON.stringify([info, contextLength, sequences, batchSize, chatTemplate, defaults]);
  return `fp_${createHash("sha256").update(configuration).digest("hex").slice(0, 12)}`;
}

function send(message: WorkerMessage, sent?: () => void): void {
  process.send?.(message, undefined, undefined, () => sent?.());
}

/** Ends the process from outside: `process.exit` waits for a native call in progress, such as loading. */
function leave(): void {
  if (socketPath !== undefined) {
    rmSync(socketPath, { force: true });
    rmSync(join(dirname(socketPath), ownerSocket), { force: true });
    try {
      rmdirSync(dirname(socketPath));
    } catch {
      // Another worker of the parent's is about to do the same.
    }
  }
  process.kill(process.pid, "SIGKILL");
}
