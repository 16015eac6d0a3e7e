import { type Checkpoint, type Fields, fieldsOf, inFolder, unusable } from "./checkpoint.ts";
import { isPoolingMode, type PoolingMode, poolingModes } from "./pooling.ts";

/** What comes after the pooling. */
export type Module =
  | ({ readonly type: "dense"; readonly folder: string; readonly inputs: number; readonly outputs: number } & {
      readonly bias: boolean;
      /** By its name in configurations; undefined where there is none. */
      readonly activation: string | undefined;
    })
  | { readonly type: "normalize" };

/** A checkpoint in the layout of sentence-transformers (https://sbert.net, `modules.json`). */
export interface SentenceLayout {
  /** The folder of the encoder's files, `""` for the checkpoint's own. */
  readonly encoder: string;
  /** What is joined, in this order. */
  readonly pooling: readonly PoolingMode[];
  readonly modules: readonly Module[];
  /** Tokens of one text, the special ones included; undefined where only the encoder says it. */
  readonly maxTokens: number | undefined;
  readonly lowerCase: boolean;
  /** Texts that are put before the input, by name. */
  readonly prompts: ReadonlyMap<string, string>;
  readonly defaultPrompt: string | undefined;
}

const maxModules = 16;
const maxPrompts = 256;

/** The names under which the encoder's part of the layout was written, the newest first. */
const encoderConfigs = ["bert", "roberta", "distilbert", "camembert", "xlm-roberta"].map(
  (name) => `sentence_${name}_config.json`,
);

/**
 * Reads the layout. Without `modules.json` it is an encoder and the mean of its
 * tokens, as sentence-transformers has it. Throws `model_unavailable` for a
 * module that isn't known here.
 */
export async function readLayout(checkpoint: Checkpoint): Promise<SentenceLayout> {
  const entries = await readModules(checkpoint);
  const { prompts, defaultPrompt } = await readPrompts(checkpoint);
  let encoder = "";
  let pooling: readonly PoolingMode[] = ["mean"];
  let stage: "encoder" | "pooling" | "vector" = "encoder";
  const modules: Module[] = [];
  for (const { type, path } of entries ?? []) {
    const misplaced = () => unusable(`modules.json: ${type} stands where it can't`);
    switch (type) {
      case "Transformer":
        if (stage !== "encoder") throw misplaced();
        encoder = path;
        stage = "pooling";
        break;
      case "Pooling":
        if (stage !== "pooling") throw misplaced();
        pooling = await readPooling(checkpoint, path, prompts.size > 0);
        stage = "vector";
        break;
      case "Dense":
        if (stage !== "vector") throw misplaced();
        modules.push(await readDense(checkpoint, path));
        break;
      case "Normalize":
        if (stage !== "vector") throw misplaced();
        modules.push({ type: "normalize" });
        break;
      case "Dropout":
        // For training only.
        break;
      default:
        throw unusable(`modules.json: the module ${type.slice(0, 100)} is not supported`);
    }
  }
  if (entries !== undefined && stage !== "vector")
    throw unusable("modules.json has no Transformer with a Pooling after it");
  const config = await readEncoderConfig(checkpoint, encoder);
  return {
    encoder,
    pooling,
    modules,
    maxTokens: config?.raw("max_seq_length") === undefined ? undefined : config.whole("max_seq_length", 1, 1_048_576),
    lowerCase: config?.flag("do_lower_case", false) ?? false,
    prompts,
    defaultPrompt,
  };
}

/** The modules of `modules.json`, by the names of their classes, and their folders; undefined where it isn't there. */
export async function readModules(
  checkpoint: Checkpoint,
): Promise<readonly { readonly type: string; readonly path: string }[] | undefined> {
  const list = await checkpoint.jsonIfThere("modules.json");
  if (list === undefined) return undefined;
  if (!Array.isArray(list) || list.length > maxModules) {
    throw unusable(`modules.json is not a list of at most ${maxModules} modules`);
  }
  return list.map((item) => {
    const fields = fieldsOf("modules.json", item);
    // The class's place in the package has changed over the years, its name has not.
    return { type: fields.text("type").split(".").at(-1) ?? "", path: fields.text("path", "") };
  });
}

/** What the layout says of the encoder: the length of texts, and their case. */
export async function readEncoderConfig(checkpoint: Checkpoint, folder: string): Promise<Fields | undefined> {
  for (const name of encoderConfigs) {
    const path = inFolder(folder, name);
    const config = await checkpoint.jsonIfThere(path);
    if (config !== undefined) return fieldsOf(path, config);
  }
  return undefined;
}

async function readPooling(checkpoint: Checkpoint, folder: string, prompted: boolean): Promise<PoolingMode[]> {
  const file = inFolder(folder, "config.json");
  const fields = fieldsOf(file, await checkpoint.json(file));
  if (prompted && !fields.flag("include_prompt", true))
    throw unusable(`${file}: include_prompt false is not supported`);
  const named = fields.raw("pooling_mode");
  const modes = named === undefined ? legacyModes(fields) : Array.isArray(named) ? named : [named];
  const known = modes.filter(isPoolingMode);
  if (known.length === modes.length && new Set(known).size === known.length && known.length > 0) return known;
  throw unusable(`${file}: pooling_mode is not made of ${poolingModes.join(", ")}`);
}

/** Until 2026 each mode had a flag; they are joined in this order. */
function legacyModes(fields: Fields): PoolingMode[] {
  const flags: Readonly<Record<string, PoolingMode>> = {
    pooling_mode_cls_token: "cls",
    pooling_mode_max_tokens: "max",
    pooling_mode_mean_tokens: "mean",
    pooling_mode_mean_sqrt_len_tokens: "mean_sqrt_len_tokens",
    pooling_mode_weightedmean_tokens: "weightedmean",
    pooling_mode_lasttoken: "lasttoken",
  };
  const modes = Object.entries(flags).flatMap(([flag, mode]) => (fields.flag(flag, false) ? [mode] : []));
  return modes.length === 0 ? ["mean"] : modes;
}

/** PyTorch's classes by their last name. */
const denseActivations: Readonly<Record<string, string | undefined>> = {
  GELU: "gelu",
  Identity: undefined,
  ReLU: "relu",
  Sigmoid: "sigmoid",
  Tanh: "tanh",
};

async function readDense(checkpoint: Checkpoint, folder: string): Promise<Module> {
  const file = inFolder(folder, "config.json");
  const fields = fieldsOf(file, await checkpoint.json(file));
  const activation = fields.text("activation_function", "torch.nn.modules.activation.Tanh").split(".").at(-1) ?? "";
  if (!Object.hasOwn(denseActivations, activation)) {
    throw unusable(`${file}: activation_function ${activation.slice(0, 100)} is not supported`);
  }
  if (fields.flag("use_residual", false)) throw unusable(`${file}: use_residual is not supported`);
  for (const name of ["module_input_name", "module_output_name"]) {
    const value = fields.text(name, "sentence_embedding");
    if (value !== "sentence_embedding") throw unusable(`${file}: ${name} ${value.slice(0, 100)} is not supported`);
  }
  return {
    type: "dense",
    folder,
    inputs: fields.whole("in_features", 1, 1_048_576),
    outputs: fields.whole("out_features", 1, 1_048_576),
    bias: fields.flag("bias", true),
    activation: denseActivations[activation],
  };
}

/** The prompts of `config_sentence_transformers.json`; none where it isn't there. */
export async function readPrompts(checkpoint: Checkpoint): Promise<Pick<SentenceLayout, "prompts" | "defaultPrompt">> {
  const file = "config_sentence_transformers.json";
  const config = await checkpoint.jsonIfThere(file);
  if (config === undefined) return { prompts: new Map(), defaultPrompt: undefined };
  const fields = fieldsOf(file, config);
  const named = fieldsOf(`${file}: prompts`, fields.raw("prompts") ?? {});
  const names = named.names();
  if (names.length > maxPrompts) throw unusable(`${file} has ${names.length} prompts, the maximum is ${maxPrompts}`);
  const prompts = new Map(names.map((name) => [name, named.text(name, "")]));
  // Models without prompts are written with these two, both empty.
  const empty = [...prompts.values()].every((prompt) => prompt === "");
  const defaultPrompt =
    fields.raw("default_prompt_name") === undefined ? undefined : fields.text("default_prompt_name");
  if (defaultPrompt !== undefined && !prompts.has(defaultPrompt)) {
    throw unusable(`${file}: there is no prompt ${defaultPrompt.slice(0, 100)}`);
  }
  return { prompts: empty ? new Map() : prompts, defaultPrompt: empty ? undefined : defaultPrompt };
}
