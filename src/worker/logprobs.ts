import { isUtf8 } from "node:buffer";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChatTokenLogprobSchema } from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine, TokenLogprob, TokenLogprobs } from "../engines/token-engine.ts";

/** A token by its bytes. Its log-probability is finite: −9999 where it is impossible, as OpenAI has it. */
export interface NamedLogprob {
  readonly bytes: Uint8Array;
  readonly logprob: number;
}

/** A token of a text, among the likeliest at its place. */
export interface TrailEntry extends NamedLogprob {
  readonly top: readonly NamedLogprob[];
  /** Where its text begins, in characters (code points) from the beginning. */
  readonly at: number;
}

/**
 * Keeps the log-probabilities of a choice's tokens until their text goes out,
 * which may be later: an open character, a possible stop string and a possible
 * tool call are held back.
 */
export interface TokenTrail {
  /**
   * The next token, and the text that became complete with it. A token without
   * log-probabilities, which was forced, leaves no entry.
   */
  push(token: number, logprobs: TokenLogprobs | undefined, text: string): void;
  /** Text that became complete at the end. */
  end(text: string): void;
  /**
   * Takes the tokens that make the text between two places, in UTF-16 units from
   * the beginning, and drops those before. Each comes once, with the first of its
   * text that goes out; at an edge its text may reach over it.
   */
  take(from: number, to: number): TrailEntry[];
}

/** Tokens whose text became complete together: often one, of a character in pieces several. */
interface Group {
  readonly tokens: readonly { readonly logprobs: TokenLogprobs; readonly at: number }[];
  readonly from: number;
  readonly to: number;
}

export function createTokenTrail(engine: Pick<TokenEngine, "tokenBytes">): TokenTrail {
  const groups: Group[] = [];
  let open: { logprobs: TokenLogprobs; at: number }[] = [];
  let length = 0;
  let characters = 0;

  const named = ({ token, logprob }: TokenLogprob): NamedLogprob => ({
    bytes: engine.tokenBytes(token),
    // JSON has no infinities.
    logprob: Math.max(logprob, -9999),
  });

  function close(text: string): void {
    if (text === "") return;
    groups.push({ tokens: open, from: length, to: length + text.length });
    open = [];
    length += text.length;
    for (const _ of text) characters += 1;
  }

  return {
    push(token, logprobs, text) {
      // What makes no text and opens no character is a control token that isn't shown.
      const isShown = text !== "" || !isUtf8(engine.tokenBytes(token));
      if (isShown && logprobs !== undefined) open.push({ logprobs, at: characters });
      close(text);
    },
    end: close,
    take(from, to) {
      const taken: TrailEntry[] = [];
      for (let group = groups[0]; group !== undefined && group.from < to; group = groups[0]) {
        groups.shift();
        if (group.to <= from) continue;
        for (const { logprobs, at } of group.tokens) {
          taken.push({ ...named(logprobs), top: logprobs.top.map(named), at });
        }
      }
      return taken;
    },
  };
}

/** Entries as chat has them. */
export function chatLogprobs(entries: readonly TrailEntry[]): MessageInitShape<typeof ChatTokenLogprobSchema>[] {
  const inChat = ({ bytes, logprob }: NamedLogprob) => ({
    token: Buffer.from(bytes).toString(),
    logprob,
    bytes: Array.from(bytes),
  });
  return entries.map((entry) => ({ ...inChat(entry), topLogprobs: entry.top.map(inChat) }));
}
