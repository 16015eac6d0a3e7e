import type { PoolingMode } from "../engines/onnx/pooling.ts";
import type { ErrorKind } from "../errors.ts";
import type { Shown } from "./chat-template.ts";
import type { Pulse } from "./pulse.ts";
import type { SamplingDefaults } from "./sampling.ts";

/** Name of the socket by which the parent shows that it lives, in the folder of the workers' sockets. */
export const ownerSocket = "owner.sock";

/** What a worker is told over IPC: its configuration first, then to show its pulse. */
export type WorkerOrder = { readonly type: "start"; readonly config: WorkerConfig } | { readonly type: "ping" };

/** What a worker is started with. */
export interface WorkerConfig {
  readonly model: WorkerModel;
  readonly limits: WorkerLimits;
  /** Whether what it writes may hold messages of errors, which may quote a request. */
  readonly logContent: boolean;
}

/** The model to load. What is absent is chosen when it loads. */
export interface WorkerModel {
  readonly id: string;
  /** What it is for, e.g. `chat` or `embedding`. */
  readonly type: string;
  /** Absolute path of the weights: a file, or the folder of a checkpoint. */
  readonly path: string;
  /** Of a checkpoint the `.onnx` file to run, in place of its weights. */
  readonly file?: string | undefined;
  /** The runtime, e.g. `llama.cpp`. */
  readonly engine: string;
  /** Positions of one sequence, in tokens. */
  readonly contextLength?: number | undefined;
  /** Requests that decode at the same time. */
  readonly sequences: number;
  /** Tokens that one decode takes. */
  readonly batchSize: number;
  readonly threads?: number | undefined;
  /** How tokens become a vector, instead of as the checkpoint says; names of sentence-transformers. */
  readonly pooling?: readonly PoolingMode[] | undefined;
  /** What the weights are made of, and the folder where that is kept; as they are where absent. */
  readonly quantization?: { readonly type: "int8"; readonly cacheFolder: string } | undefined;
  /** Jinja, instead of the model's own. */
  readonly chatTemplate?: string | undefined;
  readonly defaults: SamplingDefaults;
}

/** Bounds of what the worker does at a time. */
export interface WorkerLimits {
  /** Requests that wait; more are refused. */
  readonly maxQueuedRequests: number;
  /** Prompt tokens that wait; four times what the KV cache holds where absent. */
  readonly maxQueuedTokens?: number | undefined;
  /** Prompt tokens per decode while others generate; by the time they take where absent. */
  readonly pieceTokens?: number | undefined;
  /** Time between two sendings of one stream, in milliseconds. */
  readonly streamIntervalMs: number;
  /** Tokens of one answer; as many as fit the context where absent. */
  readonly maxOutputTokens?: number | undefined;
}

/** What a worker that is ready says of itself. */
export interface WorkerInfo {
  /** The model's own architecture name, e.g. `llama`. */
  readonly architecture: string;
  /** Number of parameters; 0 where unknown. */
  readonly parameters: number;
  /** Bytes of the weights. */
  readonly sizeBytes: number;
  /** Tokens of one request, of one text where a request has several. */
  readonly contextLength: number;
  /** Threads that it computes with. */
  readonly threads: number;
  /** From the metadata: SPDX name or the model's own words. */
  readonly license?: string | undefined;
  readonly description?: string | undefined;
  /** Generations that decode at the same time; absent where none are generated. */
  readonly sequences?: number;
  /** What of a conversation its template shows; absent where it has none. */
  readonly shown?: Shown;
}

/** How busy a worker is. */
export interface WorkerLoad {
  /** Generations that have a sequence, or requests of which a batch is computed. */
  readonly active: number;
  /** Those that wait for it, and the tokens that wait. */
  readonly queued: number;
  readonly queuedTokens: number;
  /** Memory that the process has in RAM. */
  readonly residentBytes: number;
}

/** What a worker says over IPC: `ready` or `failed` once, then its load from time to time, and its pulse where it is asked. */
export type WorkerMessage =
  | { readonly type: "ready"; readonly info: WorkerInfo }
  | { readonly type: "failed"; readonly message: string; readonly kind: ErrorKind }
  | { readonly type: "load"; readonly load: WorkerLoad }
  | { readonly type: "pulse"; readonly pulse: Pulse };
