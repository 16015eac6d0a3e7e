/**
 * The normalizer `Precompiled` of tokenizer.json: SentencePiece's table of
 * characters (`precompiled_charsmap`), which is NFKC with exceptions. Written
 * after Hugging Face's spm_precompiled (src/lib.rs), whose results it has. Throws
 * a RangeError where the table isn't one.
 */
export function createPrecompiledNormalizer(charsmap: string): (text: string) => string {
  const bytes = Buffer.from(charsmap, "base64");
  const trieBytes = bytes.length < 4 ? -1 : bytes.readUInt32LE();
  if (trieBytes < 4 || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) {
    throw new RangeError("precompiled_charsmap is not a table");
  }
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, at) => bytes.readUInt32LE(4 + 4 * at));
  const texts = bytes.subarray(4 + trieBytes);

  /** What the shortest known beginning of a text becomes; the whole text is it then. */
  function find(text: string): string | undefined {
    let unit = trie[0] ?? 0;
    let node = offsetOf(unit);
    for (const byte of Buffer.from(text)) {
      if (byte === 0) return undefined;
      node ^= byte;
      unit = trie[node] ?? 0;
      if ((unit & 0x8000_00ff) >>> 0 !== byte) return undefined;
      node ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) return textAt((trie[node] ?? 0) & 0x7fff_ffff);
    }
    return undefined;
  }

  function textAt(start: number): string {
    const end = texts.indexOf(0, start);
    return texts.subarray(start, end === -1 ? texts.length : end).toString();
  }

  const known = new Map<string, string>();
  /** What a character becomes. */
  function character(text: string): string {
    let found = known.get(text);
    if (found === undefined) {
      found = find(text) ?? text;
      if (known.size < maxKnown) known.set(text, found);
    }
    return found;
  }

  function grapheme(text: string): string {
    const whole = Buffer.byteLength(text) < 6 ? find(text) : undefined;
    return whole ?? Array.from(text, character).join("");
  }

  return (text) => {
    let normalized = "";
    let at = 0;
    for (const { 0: piece, index } of text.matchAll(joinable)) {
      for (const single of text.slice(at, index)) normalized += character(single);
      for (const { segment } of graphemes.segment(piece)) normalized += grapheme(segment);
      at = index + piece.length;
    }
    for (const single of text.slice(at)) normalized += character(single);
    return normalized;
  };
}

/** Characters remembered, of a table of some thousands. */
const maxKnown = 20_000;

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/** What may be graphemes of several characters: all other ASCII characters stand by themselves. */
const joinable = /\r\n|[^\r]?(?:[^\0-\x7f]+[\0-\x7f]?)+/gu;

/** Of a node's children, in Darts-clone's double array. */
function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
