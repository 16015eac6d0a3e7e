import { bert, roberta } from "./architectures/bert.ts";
import { distilbert } from "./architectures/distilbert.ts";
import type { Architecture, Encoder } from "./architectures/encoder.ts";
import { gemma3 } from "./architectures/gemma3.ts";
import { modernbert } from "./architectures/modernbert.ts";
import { mpnet } from "./architectures/mpnet.ts";
import { qwen3 } from "./architectures/qwen3.ts";
import { fieldsOf, unusable } from "./checkpoint.ts";

/** The encoders that can be built, by the `model_type` of their config.json. */
const architectures: Readonly<Record<string, Architecture>> = {
  bert,
  camembert: roberta,
  distilbert,
  gemma3_text: gemma3,
  modernbert,
  mpnet,
  qwen3,
  roberta,
  "xlm-roberta": roberta,
};

/** The encoder of a `config.json`. Throws `model_unavailable` for an architecture that is not in the table. */
export function encoderOf(config: unknown): Encoder & { readonly modelType: string } {
  const fields = fieldsOf("config.json", config);
  const modelType = fields.text("model_type");
  const architecture = Object.hasOwn(architectures, modelType) ? architectures[modelType] : undefined;
  if (architecture !== undefined) return { ...architecture(fields), modelType };
  const known = Object.keys(architectures).join(", ");
  throw unusable(`config.json: model_type ${modelType.slice(0, 100)} is none of ${known}`);
}
