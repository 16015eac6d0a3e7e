import { describe, expect, test } from "vitest";
import { compositeNode, leafNode, sourceTree } from "../../src/codec/raw-spans.ts";

const text = ' { "a" : [ 1.50 , "x,]}\\"" , { "b" : { } } , [ ] ] ,"c":{"d\\u0065":null,"f":-1e9 },"a2":"" } ';

function at(source: string, ...steps: (string | number)[]): string | undefined {
  let node = sourceTree(source);
  for (const step of steps) {
    const child = node.child(step);
    if (child === undefined) return undefined;
    node = child;
  }
  return node.text();
}

describe("the source text of values", () => {
  test.each<[(string | number)[], string | undefined]>([
    [[], text.trim()],
    [["a"], '[ 1.50 , "x,]}\\"" , { "b" : { } } , [ ] ]'],
    [["a", 0], "1.50"],
    [["a", 1], '"x,]}\\""'],
    [["a", 2], '{ "b" : { } }'],
    [["a", 2, "b"], "{ }"],
    [["a", 3], "[ ]"],
    [["a", 4], undefined],
    [["a", 3, 0], undefined],
    [["c"], '{"d\\u0065":null,"f":-1e9 }'],
    [["c", "de"], "null"],
    [["c", "f"], "-1e9"],
    [["a2"], '""'],
    [["b"], undefined],
    [["a2", 0], undefined],
  ])("at %j", (steps, expected) => {
    expect(at(text, ...steps)).toBe(expected);
  });

  test("of a member given twice is the last", () => {
    expect(at('{"a":1,"b":2,"a":{"c":3}}', "a", "c")).toBe("3");
  });

  test("of `__proto__` and of a name of digits", () => {
    expect(at('{"__proto__":{"0":1}}', "__proto__", "0")).toBe("1");
    expect(at('{"__proto__":{"0":1}}', "__proto__", 0)).toBeUndefined();
  });

  test("of a scalar", () => {
    expect(at(" true\n")).toBe("true");
  });

  test("of a value put together", () => {
    const list = compositeNode(new Map([0, 1].map((index) => [index, leafNode(`${index}`)])));
    const node = compositeNode(new Map([["a b", list]]));
    expect(node.text()).toBe('{"a b":[0,1]}');
    expect(node.child("a b")?.child(1)?.text()).toBe("1");
  });

  test("is that of JSON.parse, everywhere", () => {
    const check = (source: string, value: unknown, ...steps: (string | number)[]) => {
      const found = at(source, ...steps);
      expect(JSON.parse(found ?? "missing")).toEqual(value);
      if (Array.isArray(value)) {
        for (const [index, element] of value.entries()) check(source, element, ...steps, index);
      } else if (typeof value === "object" && value !== null) {
        for (const [name, member] of Object.entries(value)) check(source, member, ...steps, name);
      }
    };
    check(text, JSON.parse(text));
    check(JSON.stringify(JSON.parse(text), null, 2), JSON.parse(text));
  });
});
