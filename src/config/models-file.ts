import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse, YAMLParseError } from "yaml";
import { z } from "zod";
import { ConfigError, describeIssue } from "./config-error.ts";

/** Canonical capability names, with the names that are accepted for them. */
const capabilityAliases: Readonly<Record<string, string>> = {
  text_generation: "chat-completion",
  code_generation: "chat-completion",
};

const engineAliases: Readonly<Record<string, string>> = { llamacpp: "llama.cpp", transformers: "onnxruntime" };

const modelTypes = ["chat", "embedding", "rerank", "transcription", "speech", "image", "multimodal"] as const;

const capabilities = [
  "chat-completion",
  "vision",
  "tools",
  "structured-outputs",
  "reasoning",
  "text-embedding",
  "rerank",
  "audio-transcription",
  "audio-translation",
  "audio-speech",
  "image-generation",
] as const;

const engines = ["llama.cpp", "onnxruntime", "upstream", "custom"] as const;

function canonical(aliases: Readonly<Record<string, string>>) {
  return (value: unknown) => (typeof value === "string" ? (aliases[value] ?? value) : value);
}

const modelId = z
  .string()
  .min(1)
  .max(512)
  .regex(
    /^[\p{L}\p{N}][\p{L}\p{N}._:@/+-]*$/u,
    "may hold letters, digits and . _ : @ / + - and begins with a letter or digit",
  );

/** Values used where a request leaves the field out; the same bounds as the request's. */
const samplingDefaults = z.strictObject({
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().min(0).max(1).optional(),
  top_k: z.int().min(-1).max(1_048_576).optional(),
  min_p: z.number().min(0).max(1).optional(),
  repeat_penalty: z.number().min(0.01).max(10).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
  max_tokens: z.int().min(0).max(2_147_483_647).optional(),
});

const poolingAliases: Readonly<Record<string, string>> = {
  last: "lasttoken",
  last_token: "lasttoken",
  weighted_mean: "weightedmean",
};

/** As sentence-transformers names them. */
const poolingMode = z.preprocess(
  canonical(poolingAliases),
  z.enum(["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]),
);

/** How a model is loaded; what is absent is chosen when it loads. */
const parameters = z.strictObject({
  /** The longest context of one request, in tokens; the model's own where absent, at most 8192 then. */
  n_ctx: z.int().min(8).max(16_777_216).optional(),
  /** Requests that decode at the same time; the KV cache has room for `n_ctx` tokens for each. */
  sequences: z.int().min(1).max(256).default(4),
  /** Tokens that one step evaluates. */
  batch_size: z.int().min(8).max(65_536).default(512),
  /** Prompt tokens that one step evaluates while others generate; where absent as many as take 0.15 s. */
  prefill_chunk: z.int().min(1).max(65_536).optional(),
  /** Threads to compute with; measured at load where absent. */
  threads: z.int().min(1).max(1024).optional(),
  /** What the weights of a checkpoint are made of before they are run; what they are stored as where absent. */
  quantization: z.enum(["int8"]).optional(),
  /** Requests that wait; more are refused. */
  max_queue: z.int().min(0).max(1_000_000).default(256),
  /** Tokens of their prompts together; four times what the KV cache holds where absent. The first to wait may have any number. */
  max_queue_tokens: z.int().min(1).max(4_294_967_295).optional(),
  /**
   * The chunks of streams are sent together where they come faster than this, but
   * for the first and the last ones of each; 0 sends each at once. Nobody reads
   * faster than a dozen times a second.
   */
  stream_interval_ms: z.int().min(0).max(10_000).default(100),
  /** How the tokens of a text become one vector, several joined; as the checkpoint says where absent. */
  pooling: z
    .union([poolingMode.transform((mode) => [mode]), z.array(poolingMode).min(1).max(6)])
    .refine((modes) => new Set(modes).size === modes.length, "names a mode twice")
    .optional(),
  /** A Jinja template to use instead of the model's own. */
  chat_template: z.string().min(1).max(262_144).optional(),
});

/** An entry of a models file. */
export const modelSchema = z
  .strictObject({
    id: modelId,
    type: z.enum(modelTypes),
    capabilities: z.array(z.preprocess(canonical(capabilityAliases), z.enum(capabilities))).default([]),
    engine: z.preprocess(canonical(engineAliases), z.enum(engines)),
    /** Where the weights are; a relative path starts at the folder of the file that names it. */
    source: z.strictObject({
      path: z.string().min(1).max(4096),
      /** Of a checkpoint's folder the `.onnx` file to run, in place of its weights. */
      file: z
        .string()
        .max(255)
        .regex(/^(?!.*\.\.)[\w.-]+(\/[\w.-]+)*\.onnx$/, "is the name of an .onnx file inside the folder")
        .optional(),
    }),
    aliases: z.array(modelId).max(64).default([]),
    description: z.string().max(4096).optional(),
    license: z.string().max(256).optional(),
    parameters: parameters.prefault({}),
    defaults: samplingDefaults.default({}),
    /** Switched off: listed, but answers nothing. */
    disabled: z.boolean().default(false),
    /** Loaded when the server starts, where MODELS names no models. */
    preload: z.boolean().default(false),
  })
  .refine(
    ({ type, engine, source }) =>
      source.file === undefined || (engine === "onnxruntime" && (type === "embedding" || type === "rerank")),
    {
      path: ["source", "file"],
      message: "is for models of type embedding or rerank with the engine onnxruntime",
    },
  )
  .refine(({ type, parameters }) => parameters.pooling === undefined || type === "embedding", {
    path: ["parameters", "pooling"],
    message: "is for models of type embedding",
  })
  .refine(({ engine, parameters }) => parameters.quantization === undefined || engine === "onnxruntime", {
    path: ["parameters", "quantization"],
    message: "is for models with the engine onnxruntime",
  });

const fileSchema = z.strictObject({ models: z.array(modelSchema).default([]) });

/** An entry of a models file, its path absolute. */
export type ModelConfig = z.output<typeof modelSchema>;

/**
 * Reads a models file. Throws a ConfigError that names the file, the place in
 * it and what is wrong.
 */
export function readModelsFile(path: string): ModelConfig[] {
  let document: unknown;
  try {
    document = parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof YAMLParseError) throw new ConfigError(`${path}: ${error.message}`);
    throw new ConfigError(`${path}: can't be read: ${(error as Error).message}`);
  }
  const result = fileSchema.safeParse(document ?? {});
  if (!result.success) throw new ConfigError(`${path}: ${describeIssue(result.error)}`);
  const ids = result.data.models.map((model) => model.id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new ConfigError(`${path}: the id ${twice} stands twice`);
  const folder = dirname(resolve(path));
  return result.data.models.map((model) => ({
    ...model,
    source: { ...model.source, path: resolve(folder, model.source.path) },
  }));
}
