import type { ModelConfig } from "../../config/models-file.ts";
import type { WorkerConfig } from "../../worker/ipc.ts";

/** What a worker is told of its model's configuration. */
export function workerConfig(
  { id, type, engine, source, parameters, defaults }: ModelConfig,
  maxOutputTokens: number | undefined,
  logContent: boolean,
  cacheFolder: string,
): WorkerConfig {
  return {
    logContent,
    model: {
      id,
      type,
      engine,
      path: source.path,
      file: source.file,
      contextLength: parameters.n_ctx,
      sequences: parameters.sequences,
      batchSize: parameters.batch_size,
      threads: parameters.threads,
      pooling: parameters.pooling,
      quantization: parameters.quantization && { type: parameters.quantization, cacheFolder },
      chatTemplate: parameters.chat_template,
      defaults: {
        temperature: defaults.temperature,
        topP: defaults.top_p,
        topK: defaults.top_k,
        minP: defaults.min_p,
        repeatPenalty: defaults.repeat_penalty,
        frequencyPenalty: defaults.frequency_penalty,
        presencePenalty: defaults.presence_penalty,
        maxTokens: defaults.max_tokens,
      },
    },
    limits: {
      maxQueuedRequests: parameters.max_queue,
      maxQueuedTokens: parameters.max_queue_tokens,
      pieceTokens: parameters.prefill_chunk,
      streamIntervalMs: parameters.stream_interval_ms,
      maxOutputTokens,
    },
  };
}
