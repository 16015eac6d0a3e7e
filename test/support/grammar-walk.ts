import { type Expression, type Grammar, references } from "../../src/worker/grammar/gbnf.ts";

/**
 * Makes random texts of a grammar. Each choice is even, until a text has
 * become long: from then on the shortest way out is taken.
 */
export function grammarWalker(grammar: Grammar, random: () => number): () => string {
  const depths = ruleDepths(grammar);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  return () => {
    const parts: string[] = [];
    // A stack of its own: right-linear rules go thousands deep.
    const open: Expression[] = [{ kind: "rule", name: "root" }];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const hurried = parts.length > 200;
      switch (at.kind) {
        case "literal":
          parts.push(at.text);
          break;
        case "class": {
          const [from, to] = pick(at.ranges);
          // Mostly an end of the range: that is where mistakes are.
          const dice = random();
          const point = dice < 0.3 ? from : dice < 0.5 ? to : from + Math.floor(random() * Math.min(to - from + 1, 96));
          parts.push(String.fromCodePoint(point));
          break;
        }
        case "sequence":
          open.push(...at.items.toReversed());
          break;
        case "choice": {
          const ranked = at.options.map((option) => depthOf(option, depths));
          const least = Math.min(...ranked);
          open.push(pick(at.options.filter((_, i) => !hurried || ranked[i] === least)));
          break;
        }
        case "repeat": {
          const most = hurried ? at.min : Math.min(at.max ?? at.min + 4, at.min + 4);
          // The most that the grammar allows, now and then.
          const count =
            !hurried && at.max !== undefined && at.max <= 40 && random() < 0.1 ? at.max : between(at.min, most);
          for (let i = 0; i < count; i++) open.push(at.item);
          break;
        }
        case "rule":
          open.push(grammar.rules.get(at.name) as Expression);
          break;
        default:
          at satisfies never;
      }
    }
    return parts.join("");
  };
  function between(min: number, max: number): number {
    return min + Math.floor(random() * (max - min + 1));
  }
}

/** For each rule the least number of rules that a text of it passes through, one within another. */
function ruleDepths(grammar: Grammar): ReadonlyMap<string, number> {
  const depths = new Map<string, number>();
  const users = new Map<string, Set<string>>();
  for (const [name, expression] of grammar.rules) {
    for (const used of references(expression)) users.set(used, (users.get(used) ?? new Set()).add(name));
  }
  const waiting = [...grammar.rules.keys()].reverse();
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const depth = depthOf(grammar.rules.get(name) as Expression, depths) + 1;
    if (depth >= (depths.get(name) ?? Infinity)) continue;
    depths.set(name, depth);
    waiting.push(...(users.get(name) ?? []));
  }
  return depths;
}

function depthOf(expression: Expression, depths: ReadonlyMap<string, number>): number {
  switch (expression.kind) {
    case "literal":
    case "class":
      return 0;
    case "sequence":
      return Math.max(...expression.items.map((item) => depthOf(item, depths)));
    case "choice":
      return Math.min(...expression.options.map((option) => depthOf(option, depths)));
    case "repeat":
      return expression.min === 0 ? 0 : depthOf(expression.item, depths);
    case "rule":
      return depths.get(expression.name) ?? Infinity;
    default:
      return expression satisfies never;
  }
}
