import { type LlamaModel, vocabularyType } from "./addon.ts";

/** The tokens that a model wants around every text. WordPiece's are not said to be added, but llama.cpp always does. */
export function addedTokens(model: LlamaModel): { readonly before: number[]; readonly after: number[] } {
  const wordPiece = model.vocabularyType === vocabularyType.wordPiece;
  const tokens = (token: number | undefined, added: boolean) => (added && token !== undefined ? [token] : []);
  return {
    before: tokens(model.bosToken, model.addBos || wordPiece),
    after: wordPiece ? tokens(model.separatorToken, true) : tokens(model.eosToken, model.addEos),
  };
}
