import { describe, expect, test } from "vitest";
import { stopScanners } from "../../src/worker/stop-strings.ts";

/** Runs a text through a scanner in the given pieces. */
function scan(stops: readonly string[], pieces: readonly string[]) {
  const scanner = stopScanners(stops)();
  const emitted = pieces.map((piece) => scanner.push(piece));
  return { text: emitted.join("") + scanner.flush(), emitted, matched: scanner.matched };
}

const cases = [
  { what: "no stop strings", stops: [], text: "abc", left: "abc", matched: undefined },
  { what: "none appears", stops: ["xyz"], text: "abxyc", left: "abxyc", matched: undefined },
  { what: "one in the middle", stops: ["\n\n"], text: "one\n\ntwo", left: "one", matched: "\n\n" },
  { what: "at the start", stops: ["END"], text: "END of it", left: "", matched: "END" },
  { what: "at the very end", stops: ["END"], text: "the END", left: "the ", matched: "END" },
  { what: "begun but not finished at the end", stops: ["END"], text: "the EN", left: "the EN", matched: undefined },
  {
    what: "of several the first to be complete wins",
    stops: ["world", "o w"],
    text: "hello world",
    left: "hell",
    matched: "o w",
  },
  { what: "one inside another: complete first", stops: ["abcd", "bc"], text: "xabcd", left: "xa", matched: "bc" },
  { what: "of two that end together the longer wins", stops: ["bc", "abc"], text: "xabcd", left: "x", matched: "abc" },
  { what: "one that begins inside a false start", stops: ["aab"], text: "aaab", left: "a", matched: "aab" },
  {
    what: "a false start falls back to the right place",
    stops: ["ababc"],
    text: "abababc",
    left: "ab",
    matched: "ababc",
  },
  {
    what: "a shorter one in the false start of a longer",
    stops: ["abcx", "cy"],
    text: "abcy",
    left: "ab",
    matched: "cy",
  },
  { what: "repeated units", stops: ["aaaa"], text: "aaabaaaa!", left: "aaab", matched: "aaaa" },
  { what: "letters beyond ASCII", stops: ["日本"], text: "今日は日本語", left: "今日は", matched: "日本" },
  { what: "surrogate pairs that share a half", stops: ["😀😁"], text: "😀😀😁x", left: "😀", matched: "😀😁" },
  { what: "an empty stop string is none", stops: [""], text: "abc", left: "abc", matched: undefined },
  {
    what: "a turn's marker",
    stops: ["<|im_end|>"],
    text: "a < b <| c <|im_end|>",
    left: "a < b <| c ",
    matched: "<|im_end|>",
  },
];

describe.each(cases)("$what", ({ stops, text, left, matched }) => {
  test("in one piece", () => {
    expect(scan(stops, [text])).toMatchObject({ text: left, matched });
  });

  test("character by character", () => {
    expect(scan(stops, [...text])).toMatchObject({ text: left, matched });
  });

  test("cut in two at every byte", () => {
    const bytes = new TextEncoder().encode(text);
    for (let cut = 0; cut <= bytes.length; cut++) {
      // As a token decoder does it: an open character is held back.
      const decoder = new TextDecoder();
      const pieces = [decoder.decode(bytes.subarray(0, cut), { stream: true }), decoder.decode(bytes.subarray(cut))];
      expect(scan(stops, pieces)).toMatchObject({ text: left, matched });
    }
  });

  test("no piece holds text that has to be taken back", () => {
    const scanner = stopScanners(stops)();
    let emitted = "";
    for (const character of text) {
      emitted += scanner.push(character);
      expect(left.startsWith(emitted)).toBe(true);
    }
  });
});

test("a stop string that is kept, and nothing behind it", () => {
  for (const { stops, text, left, matched = "" } of cases) {
    const scanner = stopScanners(stops, true)();
    const kept = [...text].map((character) => scanner.push(character)).join("") + scanner.flush();
    expect(kept).toBe(left + matched);
  }
});

test("text is let through as soon as it is certain", () => {
  expect(scan(["END"], ["ab", "E", "x", "EN", "N", "E", "ND", "more"]).emitted).toEqual([
    "ab",
    "",
    "Ex",
    "",
    "ENN",
    "",
    "",
    "",
  ]);
});

test("the texts of a request share what is made of its stop strings", () => {
  const long = Array.from({ length: 16 }, (_, index) => `${index}`.repeat(256).slice(0, 256));
  const next = stopScanners(long);
  // A megabyte each would be more memory than there is.
  const scanners = Array.from({ length: 100_000 }, next);
  for (const scanner of scanners) scanner.push("00");
  expect(scanners.map((scanner) => scanner.flush())).toEqual(new Array(100_000).fill("00"));
});

test("agrees with a plain search on random texts", () => {
  let state = 1;
  const random = (below: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  const word = (length: number) => Array.from({ length }, () => "ab"[random(2)]).join("");
  for (let round = 0; round < 2_000; round++) {
    const stops = Array.from({ length: 1 + random(3) }, () => word(1 + random(4)));
    const text = word(random(20));
    let expected = { text, matched: undefined as string | undefined };
    for (let end = 1; end <= text.length && expected.matched === undefined; end++) {
      const matches = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length);
      const longest = matches[0];
      if (longest !== undefined) expected = { text: text.slice(0, end - longest.length), matched: longest };
    }
    const cut = random(text.length + 1);
    const { text: left, matched } = scan(stops, [text.slice(0, cut), text.slice(cut)]);
    expect({ text: left, matched }).toEqual(expected);
  }
});
