import { type Automaton, complement, type Edge, explore, overlay } from "./automaton.ts";
import {
  charClass,
  choice,
  type Expression,
  type GrammarBuilder,
  never,
  type OpenRule,
  type Range,
  sequence,
} from "./gbnf.ts";
import type { Budget } from "./limits.ts";

/** How far a text is into one of some markers: a node of their trie. */
interface Node {
  readonly id: number;
  /** The end of the text that begins a marker, in characters. */
  readonly next: Map<number, Node>;
  fallback: Node | undefined;
  /** The marker that ends here; the longest where several do. */
  marker: string | undefined;
}

/** The trie of some markers with its fallbacks, after Aho and Corasick (1975). */
function markerTrie(markers: Iterable<string>): Node {
  let nodes = 0;
  const node = (): Node => ({ id: nodes++, next: new Map(), fallback: undefined, marker: undefined });
  const root = node();
  for (const marker of markers) {
    let at = root;
    for (const char of marker) {
      const point = char.codePointAt(0) ?? 0;
      let next = at.next.get(point);
      if (next === undefined) {
        next = node();
        at.next.set(point, next);
      }
      at = next;
    }
    at.marker = marker;
  }
  // Breadth first: a node's fallback is less deep, so it is complete already.
  const level = [...root.next.values()];
  for (const at of level) {
    for (const [point, next] of at.next) {
      next.fallback = step(root, at.fallback, point);
      next.marker ??= next.fallback.marker;
      level.push(next);
    }
  }
  return root;
}

function step(root: Node, from: Node | undefined, point: number): Node {
  for (let at = from; at !== undefined; at = at === root ? undefined : (at.fallback ?? root)) {
    const next = at.next.get(point);
    if (next !== undefined) return next;
  }
  return root;
}

/** Where a node leads: by each character that goes on with a marker, and by all others to the root. */
function edgesOf(root: Node, node: Node): (readonly [from: number, to: number, target: Node])[] {
  const points = new Set<number>();
  for (let at: Node | undefined = node; at !== undefined; at = at === root ? undefined : (at.fallback ?? root)) {
    for (const point of at.next.keys()) points.add(point);
  }
  const to = [...points].sort((a, b) => a - b);
  const others = complement(to.map((point): Range => [point, point]));
  return [
    ...to.map((point) => [point, point, step(root, node, point)] as const),
    ...others.map(([from, end]) => [from, end, root] as const),
  ].sort((a, b) => a[0] - b[0]);
}

/** The automaton of texts that hold none of the markers. */
export function textsWithout(markers: readonly string[], budget: Budget): Automaton {
  const root = markerTrie(markers);
  return explore(
    root,
    (node) => String(node.id),
    (node) => ({
      accepting: true,
      edges: edgesOf(root, node).filter(([, , target]) => target.marker === undefined),
    }),
    budget,
  );
}

/**
 * Any text up to the first of some markers, the marker, and what comes behind
 * it. A marker with {@link never} can't come. `end` is what may stand where no
 * marker has come: {@link empty} where the text may end so, `never` where not.
 * No text begins with one that `guard` accepts. There is one derivation of each
 * text, so that a matcher follows it without alternatives.
 */
export function textUntil(
  markers: ReadonlyMap<string, Expression>,
  end: Expression,
  builder: GrammarBuilder,
  guard?: Automaton,
): Expression {
  const root = markerTrie(markers.keys());
  const open = new Map<string, OpenRule>();
  const waiting: { node: Node; guarded: number; rule: OpenRule }[] = [];
  const outside = -1;
  const ruleOf = (node: Node, guarded: number): Expression => {
    const key = `${node.id},${guarded}`;
    let rule = open.get(key);
    if (rule === undefined) {
      rule = builder.open("text");
      open.set(key, rule);
      waiting.push({ node, guarded, rule });
    }
    return rule.rule;
  };
  const start = ruleOf(root, guard === undefined ? outside : 0);
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node, guarded, rule } = next;
    const nodes = edgesOf(root, node);
    const edges = nodes.map(([from, to], i): Edge => [from, to, i]);
    const targets = new Map<Expression, Range[]>();
    const options: Expression[] = [];
    for (const [from, to, i, state] of overlay(edges, guard?.edges[guarded] ?? [], outside)) {
      const target = nodes[i]?.[2];
      if (target === undefined || guard?.accepting[state] === true) continue;
      if (target.marker !== undefined) {
        options.push(sequence(charClass([[from, to]]), markers.get(target.marker) ?? never));
        continue;
      }
      const behind = ruleOf(target, state);
      const known = targets.get(behind);
      if (known === undefined) targets.set(behind, [[from, to]]);
      else known.push([from, to]);
    }
    for (const [behind, ranges] of targets) options.push(sequence(charClass(ranges), behind));
    rule.define(choice(...options, end));
  }
  return start;
}
