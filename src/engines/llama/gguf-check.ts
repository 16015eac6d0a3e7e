import { damaged, type GgufHeader, isArray, numbersOf, textOf } from "../../gguf/gguf-header.ts";

/**
 * Refuses what llama.cpp doesn't refuse but dies of: a GGML_ASSERT or an
 * uncaught C++ exception ends the process. All else that is wrong with a file
 * llama.cpp reports itself. Found by giving it broken files
 * (llama-model.cpp, `load_hparams`; llama-vocab.cpp; ggml-cpu).
 * Throws `model_unavailable` and names the key or the tensor.
 */
export function checkGguf(header: GgufHeader): void {
  const architecture = textOf(header, "general.architecture");
  if (architecture === undefined) throw damaged("general.architecture is missing");
  const of = (key: string) => numbersOf(header.metadata.get(`${architecture}.${key}`));

  const [layers] = of("block_count");
  if (layers !== undefined && (layers < 1 || layers > maxLayers)) {
    throw damaged(`${architecture}.block_count ${layers} is not from 1 to ${maxLayers}`);
  }
  const predicted = Math.max(0, ...of("nextn_predict_layers"));
  if (layers !== undefined && predicted > layers) {
    throw damaged(`${architecture}.nextn_predict_layers ${predicted} is above block_count ${layers}`);
  }
  checkExperts(architecture, of);
  for (const key of ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"]) {
    const bad = of(key).find((epsilon) => !(epsilon >= 0));
    if (bad !== undefined) throw damaged(`${architecture}.${key} ${bad} is not 0 or above`);
  }
  const scaling = textOf(header, `${architecture}.rope.scaling.type`);
  if (scaling !== undefined && !ropeScalings.includes(scaling)) {
    throw damaged(`${architecture}.rope.scaling.type ${scaling} is none of ${ropeScalings.join(", ")}`);
  }
  checkVocabulary(header);
  checkTensorTypes(header);
}

/** LLAMA_MAX_LAYERS and LLAMA_MAX_EXPERTS in llama-hparams.h. */
const maxLayers = 512;
const maxExperts = 1024;

/** `LLAMA_ROPE_SCALING_TYPES` in llama-model.cpp. */
const ropeScalings = ["none", "linear", "yarn", "longrope"];

function checkExperts(architecture: string, of: (key: string) => readonly number[]): void {
  const [experts = 0] = of("expert_count");
  const used = Math.max(0, ...of("expert_used_count"));
  const [groups = 0] = of("expert_group_count");
  const [usedGroups = 0] = of("expert_group_used_count");
  const where = `${architecture}.expert_count ${experts}`;
  if (experts > maxExperts) throw damaged(`${where} is above the maximum ${maxExperts}`);
  if (used > experts || (experts > 0 && used === 0))
    throw damaged(`${where} does not go with expert_used_count ${used}`);
  const grouped = groups > 1 && (experts % groups !== 0 || usedGroups < 1 || usedGroups >= groups);
  if ((experts === 0 ? groups > 0 : groups >= experts) || grouped) {
    throw damaged(`${where} does not go with expert_group_count ${groups} and expert_group_used_count ${usedGroups}`);
  }
}

function checkVocabulary({ metadata }: GgufHeader): void {
  const kind = metadata.get("tokenizer.ggml.model");
  const tokens = metadata.get("tokenizer.ggml.tokens");
  if (kind === "none" || kind === "no_vocab" || !isArray(tokens) || tokens.texts === undefined) {
    throw damaged("it has no vocabulary");
  }
  const { texts, length, empty } = tokens;
  if (texts.size < length - empty) throw damaged("its vocabulary holds the same token twice");
  checkSpecialTokens(metadata, String(kind), length);
  // SentencePiece falls back to bytes for what it doesn't know, and llama.cpp takes it for granted that there are some.
  for (let byte = 0; kind === "llama" && byte < 256; byte++) {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    if (!texts.has(name) && !texts.has(String.fromCharCode(byte)))
      throw damaged(`its vocabulary lacks the byte ${name}`);
  }
}

/** Special tokens that llama.cpp takes for granted where a file names none, or one that isn't there (`llama_vocab::impl::load`). */
const defaultTokens: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  bert: { bos: 101, unknown: 100, seperator: 102, padding: 0, mask: 103 },
  t5: { eos: 1, unknown: 2, padding: 0 },
};

/** `LLAMA_TOKEN_TYPE_BYTE` in llama.h. */
const byteType = 6;

function checkSpecialTokens(metadata: GgufHeader["metadata"], kind: string, length: number): void {
  for (const [name, byDefault] of Object.entries(defaultTokens[kind] ?? {})) {
    const [named = length] = numbersOf(metadata.get(`tokenizer.ggml.${name}_token_id`));
    const token = named < length ? named : byDefault;
    if (token >= length) throw damaged(`its vocabulary of ${length} tokens names no ${name}_token_id`);
  }
  if (kind === "bert" && numbersOf(metadata.get("tokenizer.ggml.token_type")).includes(byteType)) {
    throw damaged("its vocabulary of words holds bytes");
  }
}

/** Types that ggml computes no matrix product with: Q8_1, Q8_K, integers, F64. */
const notForMatrices = [9, 15, 24, 25, 26, 27, 28];
const matrixName =
  /^(?:token_embd|position_embd|output|cls|cls\.output|dense_[23]|blk\.\d+\.(?:attn_(?:q|k|v|qkv|output)|ffn_(?:up|down|gate)(?:_exps)?))\.weight$/;

function checkTensorTypes({ tensors }: GgufHeader): void {
  for (const [name, { type }] of tensors) {
    if (matrixName.test(name) && notForMatrices.includes(type)) {
      throw damaged(`tensor ${name} has type ${type}, which no matrix can have`);
    }
    if (/norm\.weight$|\.bias$/.test(name) && type !== 0) {
      throw damaged(`tensor ${name} has type ${type}, but norms and biases are 32-bit floats`);
    }
  }
}
