import { expect, test } from "vitest";
import { createByteCollector } from "../../src/rest/byte-collector.ts";
import { caseRandom } from "../fuzz/random.ts";

test("what was added comes out, in its order, however it is cut", () => {
  const random = caseRandom(7, 0);
  for (let round = 0; round < 50; round++) {
    const kept = createByteCollector();
    for (let take = 0; take < 3; take++) {
      const pieces = Array.from({ length: random.int(40) }, () =>
        Buffer.alloc(random.pick([0, 1, 2, 100, 4_095, 4_096, 5_000, 20_000]), random.int(256)),
      );
      for (const piece of pieces) kept.add(piece);
      const all = Buffer.concat(pieces);
      expect(kept.length).toBe(all.length);
      for (const index of [0, all.length >> 1, all.length - 1]) {
        if (all.length > 0) expect(kept.at(index)).toBe(all[index]);
      }
      expect(() => kept.at(all.length)).toThrow(RangeError);
      expect(kept.take().equals(all)).toBe(true);
      expect(kept.length).toBe(0);
    }
  }
});

test("what was taken stays as it is when more is added", () => {
  const kept = createByteCollector();
  for (const piece of ["a", "b", "c"]) kept.add(Buffer.from(piece));
  const taken = kept.take();
  for (const piece of ["d", "e", "f"]) kept.add(Buffer.from(piece));
  expect([taken.toString(), kept.take().toString()]).toEqual(["abc", "def"]);
});

test("a megabyte that comes byte by byte takes little more than a megabyte", () => {
  const memory = () => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const kept = createByteCollector();
  const before = memory();
  // As a socket gives them: each in memory of its own, of which nothing must be kept.
  for (let index = 0; index < 1 << 20; index++) kept.add(Buffer.allocUnsafeSlow(1));
  const all = kept.take();
  expect(all.length).toBe(1 << 20);
  globalThis.gc?.();
  // Kept as they come they would be 100 MB and more.
  expect(memory() - before).toBeLessThan(40 << 20);
});
