import { expect, test } from "vitest";
import { orderRows } from "../../../src/engines/llama/row-order.ts";

test.each([
  {
    what: "sequences that generate go up",
    lengths: [
      [2, 1],
      [0, 1],
      [1, 1],
    ],
    order: [0, 1, 2],
  },
  {
    what: "so do pieces",
    lengths: [
      [1, 8],
      [0, 5],
    ],
    order: [0, 1],
  },
  {
    what: "a piece above those that generate goes first",
    lengths: [
      [0, 1],
      [1, 1],
      [2, 8],
    ],
    order: [2, 0, 1],
  },
  {
    what: "a piece below them goes last",
    lengths: [
      [0, 8],
      [1, 1],
      [2, 1],
    ],
    order: [1, 2, 0],
  },
  {
    what: "several pieces stay together",
    lengths: [
      [0, 1],
      [1, 9],
      [2, 8],
    ],
    order: [1, 2, 0],
  },
  {
    what: "between them a piece goes along",
    lengths: [
      [0, 1],
      [1, 8],
      [2, 1],
    ],
    order: [0, 1, 2],
  },
])("$what", ({ lengths, order }) => {
  const rows = lengths.map(([sequence = 0, length = 0]) => {
    return { sequence, position: 0, tokens: new Uint32Array(length), logits: 1 };
  });
  const ordered = orderRows(rows);
  expect(ordered.map(({ row }) => row.sequence)).toEqual(order);
  expect(ordered.map(({ place }) => rows[place])).toEqual(ordered.map(({ row }) => row));
});
