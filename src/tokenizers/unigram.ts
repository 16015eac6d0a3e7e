/** A Unigram model of @huggingface/tokenizers, as far as its types keep to themselves what is needed here. */
interface Unigram {
  readonly config: { readonly type?: unknown };
  readonly scores: readonly number[];
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  readonly unk_score: number;
  readonly trie: { common_prefix_search(characters: readonly string[], start: number): Iterable<string> };
  /** The pieces of a text; unknown characters are pieces of their own. */
  tokenize(text: string): string[];
}

/**
 * Makes a Unigram model choose among equally good pieces as Hugging Face's
 * tokenizers do (models/unigram/model.rs, `encode_optimized`): the best path to
 * each place is kept by its score alone. @huggingface/tokenizers 0.2.0 compares
 * the paths only after adding the score of what comes next, whose rounding
 * decides otherwise, e.g. among the pieces of 300 times the same letter.
 */
export function correctUnigram(tokenizerModel: object | null): void {
  const model = tokenizerModel as Unigram | null;
  if (model?.config.type !== "Unigram") return;
  model.tokenize = (text) => {
    const characters = Array.from(text);
    const scores = new Float64Array(characters.length + 1);
    /** Where the last piece of the best path to a place starts; −1 where there is no path yet. */
    const starts = new Int32Array(characters.length + 1).fill(-1);
    const offer = (start: number, end: number, pieceScore: number) => {
      const score = pieceScore + (scores[start] ?? 0);
      if (starts[end] !== -1 && score <= (scores[end] ?? 0)) return;
      scores[end] = score;
      starts[end] = start;
    };
    for (let start = 0; start < characters.length; start += 1) {
      let known = false;
      for (const piece of model.trie.common_prefix_search(characters, start)) {
        const length = lengthOf(piece);
        known ||= length === 1;
        offer(start, start + length, model.scores[model.tokens_to_ids.get(piece) ?? -1] ?? model.unk_score);
      }
      if (!known) offer(start, start + 1, model.unk_score);
    }
    const pieces: string[] = [];
    for (let end = characters.length; end > 0; end = starts[end] ?? 0) {
      pieces.push(characters.slice(starts[end], end).join(""));
    }
    return pieces.reverse();
  };
}

/** Characters, not code units. */
function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}
