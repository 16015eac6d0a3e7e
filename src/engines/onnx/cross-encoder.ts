import { type Checkpoint, type Fields, fieldsOf, inFolder, unusable } from "./checkpoint.ts";
import { readEncoderConfig, readModules } from "./sentence-transformers.ts";

/** A sequence classifier that scores pairs, as sentence-transformers' CrossEncoder reads it. */
export interface CrossEncoder {
  /** The folder of the model's files, `""` for the checkpoint's own. */
  readonly folder: string;
  /** One logit is the score; of two, the second says that the texts fit. */
  readonly labels: 1 | 2;
  readonly activation: Activation;
  /** Tokens of a pair, the special ones included; undefined where only the model says it. */
  readonly maxTokens: number | undefined;
  readonly lowerCase: boolean;
}

/** What makes a score of a logit. */
export type Activation = (logit: number) => number;

const sigmoid: Activation = (logit) => 1 / (1 + Math.exp(-logit));

/** PyTorch's classes by their last name. */
const activations: Readonly<Record<string, Activation>> = {
  Identity: (logit) => logit,
  Sigmoid: sigmoid,
  Tanh: Math.tanh,
};

/**
 * Reads how a checkpoint scores pairs. Throws `model_unavailable` where it isn't
 * a sequence classifier with one label or two.
 *
 * With one label the repository's own activation function makes the score of the
 * logit, by default the logistic function. With two the score is the probability
 * of the second label (CrossEncoder's `predict(apply_softmax=True)[:, 1]`), and
 * the raw one the difference of the logits.
 */
export async function readCrossEncoder(checkpoint: Checkpoint): Promise<CrossEncoder> {
  const modules = await readModules(checkpoint);
  const [transformer = { type: "Transformer", path: "" }, ...others] = modules ?? [];
  const wrong = [transformer, ...others].find(({ type }, index) => type !== "Transformer" || index > 0);
  if (wrong !== undefined)
    throw unusable(`modules.json: a reranker with the module ${wrong.type.slice(0, 100)} is not supported`);
  const folder = transformer.path;
  const file = inFolder(folder, "config.json");
  const config = fieldsOf(file, await checkpoint.json(file));
  const labels = labelsOf(file, config);
  const named = await activationOf(checkpoint, file, config);
  const sizes = await readEncoderConfig(checkpoint, folder);
  return {
    folder,
    labels,
    activation: labels === 2 ? sigmoid : named,
    maxTokens: sizes?.raw("max_seq_length") === undefined ? undefined : sizes.whole("max_seq_length", 1, 1_048_576),
    lowerCase: sizes?.flag("do_lower_case", false) ?? false,
  };
}

function labelsOf(file: string, config: Fields): 1 | 2 {
  const [architecture] = (config.raw("architectures") ?? []) as readonly unknown[];
  if (typeof architecture === "string" && !architecture.endsWith("ForSequenceClassification")) {
    throw unusable(`${file}: ${architecture.slice(0, 100)} is no reranker, it has no ForSequenceClassification`);
  }
  const names = config.raw("id2label");
  // Without names there are two, as transformers has it.
  const count =
    names === undefined
      ? config.whole("num_labels", 1, 1_000_000, 2)
      : fieldsOf(`${file}: id2label`, names).names().length;
  if (count === 1 || count === 2) return count;
  throw unusable(`${file}: a reranker has one label or two, this model has ${count}`);
}

async function activationOf(checkpoint: Checkpoint, configFile: string, config: Fields): Promise<Activation> {
  const file = "config_sentence_transformers.json";
  const saved = await checkpoint.jsonIfThere(file);
  const own = saved === undefined ? undefined : fieldsOf(file, saved);
  if (own?.raw("default_prompt_name") !== undefined) {
    throw unusable(`${file}: default_prompt_name is not supported for a reranker`);
  }
  const nested = config.raw("sentence_transformers");
  const places: readonly (readonly [string, Fields | undefined, string])[] = [
    [file, own, "activation_fn"],
    [
      configFile,
      nested === undefined ? undefined : fieldsOf(`${configFile}: sentence_transformers`, nested),
      "activation_fn",
    ],
    [configFile, config, "sbert_ce_default_activation_function"],
  ];
  for (const [where, fields, name] of places) {
    // Functions that are not PyTorch's own sentence-transformers takes only where it may run the repository's code.
    if (fields?.raw(name) === undefined || !fields.text(name).startsWith("torch.")) continue;
    const last = fields.text(name).split(".").at(-1) ?? "";
    const activation = Object.hasOwn(activations, last) ? activations[last] : undefined;
    if (activation === undefined) throw unusable(`${where}: ${name} ${last.slice(0, 100)} is not supported`);
    return activation;
  }
  return sigmoid;
}
