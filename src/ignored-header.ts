const header = "x-loqui-ignored";
const maxHeaderBytes = 1024;

/**
 * Adds to the names of what was ignored in a request, which the response tells
 * in `x-loqui-ignored`: percent-encoded, separated by commas, as many of them as
 * fit 1 KiB.
 */
export function reportIgnored(headers: Headers, names: readonly string[]): void {
  if (names.length === 0) return;
  const before = headers.get(header);
  const all = before === null ? [] : before.split(",");
  let length = before?.length ?? 0;
  for (const name of names) {
    // Encoded it is up to nine times as long.
    const encoded = encodeURIComponent(name.slice(0, 100).toWellFormed());
    if (all.includes(encoded)) continue;
    length += encoded.length + (all.length === 0 ? 0 : 1);
    if (length > maxHeaderBytes) break;
    all.push(encoded);
  }
  headers.set(header, all.join(","));
}
