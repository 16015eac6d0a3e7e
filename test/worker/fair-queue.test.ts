import { describe, expect, test } from "vitest";
import { createFairQueue, type FairQueue, type Waiting } from "../../src/worker/fair-queue.ts";

interface Item extends Waiting {
  readonly name: string;
}

const limits = { requests: 4, tokens: 100 };

function item(name: string, tokens = 1, priority = 0): Item {
  return { name, tenant: name.replace(/\d+$/, ""), tokens, priority };
}

function queueOf(...items: Item[]): FairQueue<Item> {
  const queue = createFairQueue<Item>();
  for (const each of items) queue.push(each);
  return queue;
}

/** Takes all out in turn, each charged its tokens. */
function drained(queue: FairQueue<Item>): string[] {
  const names: string[] = [];
  for (let next = queue.next(); next !== undefined; next = queue.next()) {
    queue.remove(next);
    queue.charge(next.tenant, next.tokens);
    names.push(next.name);
  }
  return names;
}

describe("turns", () => {
  test("one tenant's are in order of arrival", () => {
    expect(drained(queueOf(item("a1"), item("a2", 50), item("a3")))).toEqual(["a1", "a2", "a3"]);
  });

  test("or of priority, lower first, then of arrival", () => {
    const queue = queueOf(
      item("a1"),
      item("a2", 1, 5),
      item("a3", 1, -5),
      item("a4"),
      item("a5", 1, -5),
      item("a6", 1, 5),
    );
    expect(drained(queue)).toEqual(["a3", "a5", "a1", "a4", "a2", "a6"]);
  });

  test("no priority goes before another tenant", () => {
    const queue = queueOf(item("a1"), item("a2"), item("b1", 1, 1000), item("a3", 1, -1000));
    expect(drained(queue)).toEqual(["a3", "b1", "a1", "a2"]);
  });

  test("equal ones alternate", () => {
    const queue = queueOf(item("a1"), item("a2"), item("a3"), item("b1"), item("c1"), item("b2"));
    expect(drained(queue)).toEqual(["a1", "b1", "c1", "a2", "b2", "a3"]);
  });

  test("are shared by tokens", () => {
    const queue = queueOf(
      ...["a1", "a2"].map((name) => item(name, 3)),
      ...["b1", "b2", "b3", "b4"].map((name) => item(name)),
    );
    expect(drained(queue)).toEqual(["a1", "b1", "b2", "b3", "a2", "b4"]);
  });

  test("what is generated counts, and what was charged too much is given back", () => {
    const queue = queueOf(item("a1"), item("a2"), item("b1"), item("b2"));
    queue.charge("a", 10);
    expect(queue.next()?.name).toBe("b1");
    queue.charge("a", -10);
    expect(queue.next()?.name).toBe("a1");
  });

  test("a pause saves nothing up: who comes back starts level with those who wait", () => {
    const queue = queueOf(item("a1"));
    expect(drained(queue)).toEqual(["a1"]);
    for (let index = 0; index < 100; index++) {
      queue.push(item(`b${index}`, 10));
      drained(queue);
    }
    for (const name of ["b1", "b2", "a1", "a2", "a3"]) queue.push(item(name, 10));
    expect(drained(queue)).toEqual(["a1", "b1", "a2", "b2", "a3"]);
  });

  test("thousands of tenants that come once are forgotten, without gain or loss", () => {
    const queue = createFairQueue<Item>();
    for (let index = 0; index < 5_000; index++) {
      queue.push({ name: "x", tenant: `once-${index}`, tokens: 1, priority: 0 });
      drained(queue);
    }
    for (const name of ["a1", "a2", "b1"]) queue.push(item(name));
    expect(drained(queue)).toEqual(["a1", "b1", "a2"]);
  });
});

test("counts what waits; what is out is not taken out again", () => {
  const [first, second] = [item("a1", 5), item("b1", 7)];
  const queue = queueOf(first, second);
  queue.remove(first);
  queue.remove(first);
  expect([queue.length, queue.tokens, [...queue]]).toEqual([1, 7, [second]]);
});

describe("room", () => {
  const few = [item("a1"), item("a2"), item("a3"), item("a4")];
  const cases: [string, Item[], Item & { places?: number }, number, readonly string[] | string][] = [
    ["while there is room", few.slice(1), item("a9"), 0, []],
    ["in a full queue of one's own", few, item("a9"), 0, "4 requests wait already, the maximum is 4"],
    ["in a full queue of another", few, item("b1"), 0, ["a4"]],
    ["where some start at once", few, item("a9"), 1, []],
    [
      "at one's share",
      [...few.slice(2), item("b1"), item("b2")],
      item("b3"),
      0,
      "4 requests wait already, the maximum is 4",
    ],
    ["below one's share of three", [item("a1"), item("a2"), item("b1"), item("b2")], item("c1"), 0, ["a2"]],
    [
      "where all have one",
      [item("a1"), item("b1"), item("c1"), item("d1")],
      item("e1"),
      0,
      "4 requests wait already, the maximum is 4",
    ],
    ["for many tokens where nobody waits", [], item("a1", 1_000), 0, []],
    [
      "for too many tokens",
      [item("a1", 60)],
      item("a2", 50),
      0,
      "60 prompt tokens wait already, with this request's 50 they would exceed the maximum 100",
    ],
    [
      "for tokens of another, as many as it takes",
      [item("a1", 30), item("a2", 30), item("a3", 30)],
      item("b1", 30),
      0,
      ["a3"],
    ],
    [
      "for more tokens than the other keeps",
      [item("a1", 30), item("a2", 30), item("a3", 30)],
      item("b1", 50),
      0,
      "90 prompt tokens wait already, with this request's 50 they would exceed the maximum 100",
    ],
    [
      "in requests and in tokens",
      [item("a1", 30), item("a2", 30), item("a3", 30), item("a4", 1)],
      item("b1", 20),
      0,
      ["a4", "a3"],
    ],
  ];
  const group = { begun: false };
  const pair = [
    { ...item("a3"), group },
    { ...item("a4"), group },
  ];
  const grouped: typeof cases = [
    ["for a group where it fits", [item("a1")], { ...item("b1"), places: 3 }, 0, []],
    ["for a group of any size where nobody waits", [], { ...item("a1"), places: 9 }, 0, []],
    [
      "for a group that is too large",
      [item("a1")],
      { ...item("b1"), places: 4 },
      0,
      "1 requests wait already, the maximum is 4, with this request's 4 choices they would exceed it",
    ],
    [
      "in a full queue, whose newest is a group: all of it leaves",
      [item("a1"), item("a2"), ...pair],
      item("b1"),
      0,
      ["a3", "a4"],
    ],
    [
      "where the group that would leave has as much as its share",
      [item("b1"), item("b2"), ...pair],
      item("b3"),
      0,
      "4 requests wait already, the maximum is 4",
    ],
    [
      "where the group that would leave has begun",
      pair.map((each) => ({ ...each, group: { begun: true } })),
      { ...item("b1"), places: 3 },
      0,
      "2 requests wait already, the maximum is 4, with this request's 3 choices they would exceed it",
    ],
    [
      "where one that has begun comes last: those before it leave",
      [item("a1"), item("a2"), ...pair.map((each) => ({ ...each, group: { begun: true }, priority: 5 }))],
      item("b1"),
      0,
      ["a2"],
    ],
  ];
  test.each([...cases, ...grouped])("%s", (_, waiting, newcomer, starting, expected) => {
    const queue = queueOf(...waiting);
    const { leaving, full } = queue.roomFor({ places: 1, ...newcomer }, limits, starting);
    expect(full ?? leaving.map(({ name }) => name)).toEqual(expected);
    expect(queue.length).toBe(waiting.length);
  });
});
