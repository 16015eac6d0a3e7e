/** The servers that are compared: loqui over its two protocols, sentence-transformers behind FastAPI, infinity-emb. */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { childrenOf } from "../../test/support/processes.ts";
import { spawnLoqui } from "../../test/support/spawned-loqui.ts";
import { freePort, stopProcess } from "../support/peer-process.ts";
import { type Ask, grpcClient, grpcRanker, restClient, restRanker } from "./clients.ts";

/** What all servers are started with. */
export interface SideOptions {
  readonly type: "embedding" | "rerank";
  /** The folder of the model. */
  readonly model: string;
  readonly threads: number;
  /** Tokens of one batch, in loqui. */
  readonly batchTokens: number;
  /** What the weights are made of; of the peers the export that quantize.py wrote, in `model` with `-int8` behind it. */
  readonly quantization?: "int8" | undefined;
  /** The folder that peers.sh filled. */
  readonly peers: string;
}

/** A way to have texts embedded or ranked. */
export interface Side {
  readonly name: string;
  readonly ask: Ask;
  /** Of the server. */
  readonly processes: Readonly<Record<string, number>>;
}

/** Running servers; stopping them ends all. */
export interface Sides extends AsyncDisposable {
  readonly sides: readonly Side[];
}

export const sideNames = ["loqui", "sentence-transformers", "infinity"] as const;
export type SideName = (typeof sideNames)[number];

const here = import.meta.dirname;

/** Starts the named ones and waits until they answer. */
export async function startSides(names: readonly SideName[], options: SideOptions): Promise<Sides> {
  const stack = new AsyncDisposableStack();
  const sides: Side[] = [];
  try {
    for (const name of names) {
      if (name === "loqui") sides.push(...(await startLoqui(stack, options)));
      else sides.push(await startPeer(stack, name, options));
    }
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
  return { sides, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function startLoqui(stack: AsyncDisposableStack, options: SideOptions): Promise<Side[]> {
  const { type, model, threads, batchTokens, quantization } = options;
  const config = join(model, "..", "models.json");
  const parameters = { threads, batch_size: batchTokens, quantization };
  const source = { path: model };
  const entry = { id: "bench", type, engine: "onnxruntime", source, preload: true, parameters };
  writeFileSync(config, JSON.stringify({ models: [entry] }));
  const { url, process: server, stop } = await spawnLoqui(["--config", config, "--models", "bench"]);
  stack.defer(stop);
  process.once("exit", () => server.kill());
  const front = server.pid ?? 0;
  await untilAnswers(`${url}/readyz`, server);
  const [worker = 0] = childrenOf(front);
  const processes = { front, worker };
  const ranks = type === "rerank";
  const rest = ranks ? restRanker(url, "/v1/rerank") : restClient(url, "/v1/embeddings");
  return [
    { name: "loqui, REST", ask: rest, processes },
    { name: "loqui, gRPC", ask: ranks ? grpcRanker(url) : grpcClient(url), processes },
  ];
}

async function startPeer(
  stack: AsyncDisposableStack,
  name: Exclude<SideName, "loqui">,
  { type, model: float32, threads, quantization, peers }: SideOptions,
): Promise<Side> {
  const port = String(await freePort());
  const int8 = quantization === "int8";
  const model = int8 ? `${float32}-int8` : float32;
  // The older sentence-transformers there has the version of Optimum that exports are run with.
  const bin = join(peers, int8 ? "infinity" : name, "bin");
  const server = join(here, "sentence_transformers_server.py");
  const [program, ...args] =
    name === "infinity"
      ? [
          ...[join(bin, "infinity_emb"), "v2", "--model-id", model, "--served-model-name", "bench"],
          ...["--engine", int8 ? "optimum" : "torch", "--device", "cpu", "--dtype", "float32", "--no-model-warmup"],
          ...["--host", "127.0.0.1", "--port", port, "--log-level", "error"],
        ]
      : [join(bin, "python"), server, model, port, String(threads), type, int8 ? "onnx" : "torch"];
  const child = spawn(program ?? "", args, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, OMP_NUM_THREADS: String(threads), DO_NOT_TRACK: "1", HF_HUB_OFFLINE: "1" },
  });
  process.once("exit", () => child.kill());
  stack.defer(() => stopProcess(child));
  const url = `http://127.0.0.1:${port}`;
  await untilAnswers(`${url}/health`, child);
  const ask = type === "rerank" ? restRanker(url, "/rerank") : restClient(url, "/embeddings");
  return { name, ask, processes: { server: child.pid ?? 0 } };
}

async function untilAnswers(url: string, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + 300_000;
  for (;;) {
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode} while it started`);
    if (performance.now() > deadline) throw new Error(`${url} did not answer within five minutes`);
    await new Promise((wake) => setTimeout(wake, 200));
  }
}
