import { skipSpace, stringEnd } from "./json-syntax.ts";

/** A JSON value with its source text. */
export interface SourceNode {
  /** The exact text of the value, without the whitespace around it. */
  text(): string;
  /** A member's or an element's value. */
  child(step: string | number): SourceNode | undefined;
}

/**
 * The source of valid JSON text. One pass finds where each array and object
 * ends; a container whose child is asked for is then read once, stepping over
 * what its members hold. All questions together take time linear in the text.
 */
export function sourceTree(text: string): SourceNode {
  return createNode({ text, ends: containerEnds(text) }, skipSpace(text, 0));
}

/** A value without parts, by its text. */
export function leafNode(text: string): SourceNode {
  return { text: () => text, child: () => undefined };
}

/** A container put together from values with texts of their own. */
export function compositeNode(children: ReadonlyMap<string | number, SourceNode>): SourceNode {
  return {
    text() {
      const parts = [...children].map(([step, node]) =>
        typeof step === "number" ? node.text() : `${JSON.stringify(step)}:${node.text()}`,
      );
      const isArray = children.size > 0 && typeof [...children.keys()][0] === "number";
      return isArray ? `[${parts.join(",")}]` : `{${parts.join(",")}}`;
    },
    child: (step) => children.get(step),
  };
}

interface Source {
  readonly text: string;
  /** Where the container that starts at a position ends. */
  readonly ends: ReadonlyMap<number, number>;
}

function createNode(source: Source, start: number): SourceNode {
  /** By name or index: where the child starts, then its node. */
  let children: Map<string | number, number | SourceNode> | undefined;
  return {
    text: () => source.text.slice(start, valueEnd(source, start)),
    child(step) {
      children ??= childStarts(source, start);
      const known = children.get(step);
      if (typeof known !== "number") return known;
      const node = createNode(source, known);
      children.set(step, node);
      return node;
    },
  };
}

function containerEnds(text: string): Map<number, number> {
  const ends = new Map<number, number>();
  const open: number[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) at = stringEnd(text, at) - 1;
    else if (code === 0x5b || code === 0x7b) open.push(at);
    else if (code === 0x5d || code === 0x7d) ends.set(open.pop() ?? 0, at + 1);
  }
  return ends;
}

const scalar = /[^\s,\]}]*/y;

function valueEnd({ text, ends }: Source, start: number): number {
  const end = ends.get(start);
  if (end !== undefined) return end;
  if (text.charCodeAt(start) === 0x22) return stringEnd(text, start);
  scalar.lastIndex = start;
  scalar.test(text);
  return scalar.lastIndex;
}

/** A member given twice counts where it is given last, as in JSON.parse. */
function childStarts(source: Source, start: number): Map<string | number, number> {
  const { text } = source;
  const starts = new Map<string | number, number>();
  const isObject = text.charCodeAt(start) === 0x7b;
  const last = valueEnd(source, start) - 1;
  if (!isObject && text.charCodeAt(start) !== 0x5b) return starts;
  for (let at = skipSpace(text, start + 1), index = 0; at < last; index++) {
    let step: string | number = index;
    if (isObject) {
      const nameEnd = stringEnd(text, at);
      step = memberName(text.slice(at, nameEnd));
      at = skipSpace(text, skipSpace(text, nameEnd) + 1);
    }
    starts.set(step, at);
    at = skipSpace(text, skipSpace(text, valueEnd(source, at)) + 1);
  }
  return starts;
}

function memberName(quoted: string): string {
  return quoted.includes("\\") ? JSON.parse(quoted) : quoted.slice(1, -1);
}
