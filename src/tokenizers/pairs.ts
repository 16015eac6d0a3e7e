import type { Tokenizer } from "@huggingface/tokenizers";

/** Two texts as one row of tokens. */
export interface PairIds {
  readonly tokens: Uint32Array;
  /** How many of them, from the start, are of the first token type; all where the model is told no types. */
  readonly first: number;
}

/** The special tokens of a pair. */
export interface PairTemplate {
  readonly before: readonly number[];
  readonly between: readonly number[];
  /** How many of those are of the first token type; undefined where all of a pair is. */
  readonly betweenFirst: number | undefined;
  readonly after: readonly number[];
}

/**
 * What a tokenizer's post-processor puts around a pair; undefined where it knows
 * none. `probe` is any text that tokens are made of and that no special one begins with.
 */
export function pairTemplateOf(
  tokenizer: Tokenizer,
  probe: string,
  model: unknown,
  config: unknown,
): PairTemplate | undefined {
  const part = tokenizer.encode(probe, { add_special_tokens: false }).ids;
  const { ids, token_type_ids: types } = tokenizer.encode(probe, {
    text_pair: probe,
    add_special_tokens: true,
    return_token_type_ids: true,
  });
  const typed = hasTypes(model, config);
  // ByteLevel adds nothing; of a pair @huggingface/tokenizers 0.2.0 gives only the first text then.
  if (ids.length === part.length) return { before: [], between: [], betweenFirst: typed ? 0 : undefined, after: [] };
  const places = [...ids.keys()].filter((at) => part.every((id: number, offset: number) => ids[at + offset] === id));
  const [first, second] = [places.at(0), places.at(-1)];
  if (first === undefined || second === undefined || second < first + part.length) return undefined;
  const between = ids.slice(first + part.length, second);
  const typesBetween = types?.slice(first + part.length, second) ?? [];
  return {
    before: ids.slice(0, first),
    between,
    betweenFirst:
      typed && (types === undefined || types[second] === 1)
        ? typesBetween.filter((type: number) => type === 0).length
        : undefined,
    after: ids.slice(second + part.length),
  };
}

/**
 * Whether transformers 5 tells the model the types of tokens: by
 * `model_input_names`, else by the tokenizer's class, of which the general ones
 * don't. RobertaProcessing makes all tokens of the first type.
 */
function hasTypes(model: unknown, config: unknown): boolean {
  const { model_input_names: names, tokenizer_class: tokenizerClass } = (config ?? {}) as Readonly<
    Record<string, unknown>
  >;
  if (postProcessorsOf(model).includes("RobertaProcessing")) return false;
  if (Array.isArray(names)) return names.includes("token_type_ids");
  return tokenizerClass !== "TokenizersBackend" && tokenizerClass !== "PreTrainedTokenizerFast";
}

function postProcessorsOf(model: unknown): unknown[] {
  const { post_processor } = model as {
    readonly post_processor?: {
      readonly type?: unknown;
      readonly processors?: readonly { readonly type?: unknown }[];
    } | null;
  };
  return [post_processor?.type, ...(post_processor?.processors ?? []).map(({ type }) => type)];
}

/** Joins two texts; what is more than `limit` is cut as Hugging Face's tokenizers do it (utils/truncation.rs, `LongestFirst`). */
export function joinPair(
  { before, between, betweenFirst, after }: PairTemplate,
  first: Uint32Array,
  second: Uint32Array,
  limit: number,
  truncate: "none" | "start" | "end",
): PairIds {
  const room = Math.max(limit - before.length - between.length - after.length, 0);
  const [ofFirst, ofSecond] =
    truncate === "none" ? [first.length, second.length] : sharesOf(first.length, second.length, room);
  const end = truncate === "start" ? "start" : "end";
  const parts = [before, cut(first, ofFirst, end), between, cut(second, ofSecond, end), after];
  const tokens = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    tokens.set(part, at);
    at += part.length;
  }
  return { tokens, first: betweenFirst === undefined ? tokens.length : before.length + ofFirst + betweenFirst };
}

/** How many tokens each of two texts keeps: the shorter one all, where that leaves the longer as many at least; else half each. */
function sharesOf(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const shorter = Math.min(first, second);
  if (2 * shorter <= room) return first <= second ? [first, room - first] : [room - second, second];
  const half = Math.floor(room / 2);
  return first <= second ? [half, room - half] : [room - half, half];
}

/** What is left of a list where `room` are to be kept. */
export function cut<T extends readonly number[] | Uint32Array>(ids: T, room: number, end: "start" | "end"): T {
  if (ids.length <= room) return ids;
  return (end === "end" ? ids.slice(0, room) : ids.slice(ids.length - room)) as T;
}
