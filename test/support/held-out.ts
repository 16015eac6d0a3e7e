import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const fixtures = resolve(import.meta.dirname, "../../training/tiny-search/fixtures");

/** The texts that the embedded models for search are judged by: training/tiny-search/fixtures/held-out.txt. */
export interface HeldOut {
  /** A text, one of like meaning, one of another. */
  readonly triples: readonly (readonly [text: string, like: string, unlike: string])[];
  readonly search: readonly (readonly [question: string, answer: string])[];
  readonly rankings: readonly { readonly query: string; readonly documents: string[]; readonly wanted: number }[];
}

export function readHeldOut(): HeldOut {
  const sections: Record<string, string[]> = {};
  let lines: string[] = [];
  for (const line of readFileSync(join(fixtures, "held-out.txt"), "utf8").split("\n")) {
    const name = /^\[(\w+)\]$/.exec(line)?.[1];
    if (name !== undefined) sections[name] = lines = [];
    else if (line !== "" && !line.startsWith("#")) lines.push(line);
  }
  const parts = (line: string) => line.split("|").map((part) => part.trim());
  const rankings: { query: string; documents: string[]; wanted: number }[] = [];
  for (const line of sections.rankings ?? []) {
    const ranking = rankings.at(-1);
    if (line.startsWith("= ")) rankings.push({ query: line.slice(2), documents: [], wanted: -1 });
    else if (ranking !== undefined && ranking.documents.push(line.slice(2)) > 0 && line.startsWith("+")) {
      ranking.wanted = ranking.documents.length - 1;
    }
  }
  return {
    triples: (sections.triples ?? []).map((line) => parts(line) as [string, string, string]),
    search: (sections.search ?? []).map((line) => parts(line) as [string, string]),
    rankings,
  };
}

/** What sentence-transformers computes with the published files, by training/tiny-search/fixture.py. */
export function readSearchReference<T>(model: "tiny-embed" | "tiny-rerank"): T[] {
  return JSON.parse(readFileSync(join(fixtures, `${model}.json`), "utf8")) as T[];
}

/** Scaled to length 1, little-endian float32 in base64. */
export interface VectorReference {
  readonly text: string;
  readonly vector: string;
}

/** Scores between 0 and 1, in the order of the documents. */
export interface RankingReference {
  readonly query: string;
  readonly documents: string[];
  readonly scores: number[];
}
