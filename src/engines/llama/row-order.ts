import type { DecodeRow } from "../token-engine.ts";

/**
 * The order in which llama.cpp gets rows, and each one's place in `rows`.
 *
 * It computes rows together while their sequence ids go up one by one, as many
 * tokens of each as the shortest has, then the rest of the longer ones
 * (llama_batch_allocr::split_equal with `sequential`): 16 shuffled rows took 70
 * ms instead of 42. So a piece of a prompt leaves its first token with the
 * sequences that generate, and as many passes are made as if they were apart.
 * Apart is faster, as several rows at a time cost the most where they are few:
 * a sequence that generates and a piece of 16 tokens took 93 ms together and 71
 * apart, four and a piece of 64 took 221 and 200 (135 million parameters, Q8_0,
 * one core of Zen 5). What goes down is computed apart; only where all that
 * generate are neighbours, as else they would need more passes.
 */
export function orderRows(rows: readonly DecodeRow[]): { readonly row: DecodeRow; readonly place: number }[] {
  const ascending = rows.map((row, place) => ({ row, place })).sort((a, b) => a.row.sequence - b.row.sequence);
  const isPiece = (at: number) => (ascending[at]?.row.tokens.length ?? 0) > 1;
  const turns = ascending.flatMap((_, at) => (at > 0 && isPiece(at) !== isPiece(at - 1) ? [at] : []));
  const [turn] = turns;
  return turn === undefined || turns.length > 1 ? ascending : [...ascending.slice(turn), ...ascending.slice(0, turn)];
}
