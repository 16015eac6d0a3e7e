import { choice, type Expression, empty, type GrammarBuilder, literal, sequence } from "./gbnf.ts";

/** Groups nest so deep in one rule; llama.cpp parses them recursively. */
const maxNesting = 8;
/** Beyond so many levels the rest of the texts stand side by side. */
const maxLevels = 128;

/**
 * Exactly one of these texts. What texts begin with in common is written once,
 * so that a matcher follows one way. Texts with half of a surrogate pair can't
 * be sent, and ones with U+0000 not be matched: they are left out. Without any
 * text nothing matches.
 */
export function textChoice(texts: readonly string[], builder: GrammarBuilder): Expression {
  const sorted = [...new Set(texts)].filter((text) => text.isWellFormed()).sort();
  return factor(sorted, 0, sorted.length, 0, 0, builder);
}

/** The texts from `first` to before `end`, which agree up to character `from`; what comes after that. */
function factor(
  texts: readonly string[],
  first: number,
  end: number,
  from: number,
  level: number,
  builder: GrammarBuilder,
): Expression {
  const rest = (i: number) => literal((texts[i] ?? "").slice(from));
  if (level >= maxLevels) return choice(...Array.from({ length: end - first }, (_, i) => rest(first + i)));
  const options: Expression[] = [];
  for (let i = first; i < end; ) {
    const text = texts[i] ?? "";
    if (text.length === from) {
      options.push(empty);
      i++;
      continue;
    }
    const point = text.codePointAt(from);
    let next = i + 1;
    while (next < end && texts[next]?.codePointAt(from) === point) next++;
    if (next === i + 1) {
      options.push(rest(i));
    } else {
      const common = commonLength(text, texts[next - 1] ?? "", from);
      const inner = factor(texts, i, next, common, level + 1, builder);
      const isCut = level % maxNesting === maxNesting - 1;
      options.push(sequence(literal(text.slice(from, common)), isCut ? builder.share("text", inner) : inner));
    }
    i = next;
  }
  return choice(...options);
}

/** Up to where two texts are equal, in whole characters. */
function commonLength(a: string, b: string, from: number): number {
  let at = from;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  const isInPair = at > from && (a.charCodeAt(at - 1) & 0xfc00) === 0xd800;
  return isInPair ? at - 1 : at;
}
