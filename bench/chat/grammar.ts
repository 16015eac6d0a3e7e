import { compileRegex } from "../../src/worker/grammar/regex.ts";
import { figure, median } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { line } from "./report.ts";
import type { Side } from "./sides.ts";
import { newContent, stream } from "./stream.ts";

/** What a grammar costs a token, by whether it takes what the sampler draws first. */
const expressions = {
  // All that a random model says but bytes that are no characters.
  accepted: "[\\s\\S]*",
  // One token in thousands; it must not end before the tokens are there.
  refused: "[0-9]{150,}",
} as const;

type Grammar = "none" | keyof typeof expressions;

/** Milliseconds per token of a single stream without a grammar and with each kind. */
export async function benchGrammar(
  sides: readonly Side[],
  { tokens, rounds }: { readonly tokens: number; readonly rounds: number },
): Promise<void> {
  console.log(`a stream of ${tokens} tokens with grammars, ${rounds} rounds`);
  const grammars: readonly Grammar[] = ["none", "accepted", "refused"];
  const measure = async (side: Side): Promise<Record<Grammar, number>> => {
    const times: Partial<Record<Grammar, number>> = {};
    for (const grammar of grammars) times[grammar] = await tokenMs(side, grammar, tokens);
    return times as Record<Grammar, number>;
  };
  await measureInTurn(sides, 1, measure);
  const results = await measureInTurn(sides, rounds, measure);
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    const of = (grammar: Grammar) => own.map((sample) => sample[grammar]);
    const more = (grammar: Grammar) => {
      const ms = median(own.map((sample) => sample[grammar] - sample.none));
      return `${ms >= 0 ? "+" : ""}${ms.toFixed(2)}`;
    };
    line(
      side,
      `ms a token: none ${figure(of("none"), 2)}, first draw accepted ${figure(of("accepted"), 2)} (${more("accepted")}), refused ${figure(of("refused"), 2)} (${more("refused")})`,
    );
  }
}

async function tokenMs({ url, name }: Side, grammar: Grammar, tokens: number): Promise<number> {
  // With a grammar, tokens that end an answer can't be ignored.
  const fields = grammar === "none" ? {} : { ignore_eos: false, ...grammarField(name, expressions[grammar]) };
  const { arrivals } = await stream(url, { content: newContent(32), tokens, fields });
  return ((arrivals.at(-1) ?? Number.NaN) - (arrivals[0] ?? Number.NaN)) / (tokens - 1);
}

/** The same grammar in each server's words. */
function grammarField(name: string, regex: string): Record<string, string> {
  return name.startsWith("loqui") ? { guided_regex: regex } : { grammar: compileRegex(regex, "grammar").text };
}
