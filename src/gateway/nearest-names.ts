import { distance } from "fastest-levenshtein";

/**
 * Up to `count` known names that a mistyped one may mean, nearest first: by
 * edit distance without regard to case, where the whole or the part behind the
 * last slash is close (a third of its length), or contains the other.
 */
export function nearestNames(name: string, known: Iterable<string>, count = 3): string[] {
  const wanted = name.slice(0, 512).toLowerCase();
  const scored = [...known].flatMap((candidate) => {
    const score = Math.min(closeness(wanted, candidate), closeness(baseName(wanted), baseName(candidate)));
    return Number.isFinite(score) ? [{ candidate, score }] : [];
  });
  return scored
    .sort((a, b) => a.score - b.score || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

function baseName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

function closeness(wanted: string, candidate: string): number {
  const other = candidate.toLowerCase();
  const edits = distance(wanted, other);
  const length = Math.max(wanted.length, other.length);
  const contained = Math.min(wanted.length, other.length) >= 3 && (wanted.includes(other) || other.includes(wanted));
  return contained || edits * 3 <= length ? edits / length : Number.POSITIVE_INFINITY;
}
