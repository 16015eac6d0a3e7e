import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  CreateCompletionRequestSchema,
  type CreateCompletionResponse,
  CreateCompletionResponseSchema,
  FinishReason,
} from "../../gen/loqui/v1/chat_pb.ts";
import { createTextDecoder, type TokenBytes } from "../../src/engines/llama/token-text.ts";
import { createCompletionMethods } from "../../src/worker/completion-service.ts";
import { createGenerator } from "../../src/worker/generator.ts";
import { createScheduler } from "../../src/worker/scheduler.ts";
import { fakeCall, lastOf } from "./fake-call.ts";
import { eog, FakeEngine, withSeed } from "./fake-engine.ts";

/** Tokens of one and of many characters, and of halves of some; the last are no text anywhere. */
const pieces = [
  ...["a", "b", "ab", "é", "👋", "\n", " ", "END", "日本", "<", ">", "x"].map((text) => Buffer.from(text)),
  ...[[0xf0, 0x9f], [0x91, 0x8b], [0xc3], [0xa9], [0xa9, 0x61], [0xff]].map((bytes) => Buffer.from(bytes)),
];
/** A prompt's token is a byte. */
const ofPrompt = 1_000;
const bytes: TokenBytes = {
  of: (token) => (token >= ofPrompt ? Buffer.of(token - ofPrompt) : (pieces[token % pieces.length] ?? Buffer.alloc(0))),
  standsAlone: () => false,
  addsSpace: false,
};

class TextEngine extends FakeEngine {
  override tokenize(text: string): Uint32Array {
    return Uint32Array.from(Buffer.from(text), (byte) => ofPrompt + byte);
  }
  override createTextDecoder() {
    return createTextDecoder(bytes, false);
  }
  override tokenBytes(token: number): Uint8Array {
    return bytes.of(token, true);
  }
}

function createRandom(seed: number) {
  let state = seed * 7_919 + 1;
  return (below: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

interface Asked {
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly stop: readonly string[];
  readonly includeStopStrInOutput: boolean;
}

/** The text of tokens, read unit by unit up to the first stop string, and why it ends. */
function textOf(tokens: readonly number[], { maxTokens, minTokens, stop, includeStopStrInOutput }: Asked) {
  const decoder = createTextDecoder(bytes, false);
  let text = "";
  let from = 0;
  const stopsWith = (piece: string): string | undefined => {
    for (const unit of piece.split("")) {
      text += unit;
      const behind = text.slice(from);
      const [found] = stop.filter((each) => behind.endsWith(each)).sort((a, b) => b.length - a.length);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  for (const [index, token] of tokens.slice(0, maxTokens).entries()) {
    const piece = decoder.push(token);
    if (index < minTokens) {
      text += piece;
      from = text.length;
      continue;
    }
    const found = stopsWith(piece);
    if (found === undefined) continue;
    return { text: includeStopStrInOutput ? text : text.slice(0, -found.length), finishReason: FinishReason.STOP };
  }
  const finishReason = tokens.length < maxTokens ? FinishReason.STOP : FinishReason.LENGTH;
  const found = stopsWith(decoder.flush());
  return { text: found === undefined || includeStopStrInOutput ? text : text.slice(0, -found.length), finishReason };
}

/** What the chunks of a stream say of a choice. */
function joined(chunks: readonly CreateCompletionResponse[], index: number) {
  const own = chunks.flatMap(({ choices }) => choices.filter((choice) => choice.index === index));
  const logprobs = own.flatMap((choice) => choice.logprobs ?? []);
  return {
    text: own.map(({ text }) => text).join(""),
    ends: own.flatMap(({ finishReason }) => finishReason ?? []),
    tokens: logprobs.flatMap(({ tokens }) => tokens),
    textOffset: logprobs.flatMap(({ textOffset }) => textOffset),
    topLogprobs: logprobs.flatMap(({ topLogprobs }) => topLogprobs),
  };
}

/** The bytes of a token that is named as in OpenAI's answers. */
function bytesNamed(name: string): Buffer {
  if (!name.startsWith("bytes:")) return Buffer.from(name);
  const escaped = name.slice("bytes:".length);
  const latin1 = escaped.replaceAll(/\\x(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(latin1, "latin1");
}

test.each(Array.from({ length: 150 }, (_, index) => index + 1))("random completions, seed %i", async (seed) => {
  const below = createRandom(seed);
  const pick = <T>(...values: T[]): T | undefined => values[below(values.length)];
  const script = Array.from({ length: 40 }, () => below(pieces.length));
  const endsAt = below(40);
  const prompt = Array.from({ length: 1 + below(6) }, () => pick("a", "b", "é", "👋")).join("");
  const length = Buffer.byteLength(prompt);
  const engine = new TextEngine({
    sequences: 1 + below(4),
    batchSize: 16,
    next: (held) => (held.length - length >= endsAt ? eog : (script[Math.max(0, held.length - length)] ?? 0)),
  });
  const scheduler = createScheduler(engine, { maxQueuedRequests: 100, maxQueuedTokens: 10_000 });
  const generator = createGenerator({ engine, scheduler, defaults: {} });
  const methods = createCompletionMethods({ engine, generator, fingerprint: "" });

  const maxTokens = below(35);
  const stops = ["END", "b\n", "é", "👋", "x", "本<", "aba"];
  const asked: Asked = {
    maxTokens,
    minTokens: below(2) * below(Math.min(maxTokens, endsAt, 4) + 1),
    stop: Array.from({ length: below(3) }, () => pick(...stops) ?? ""),
    includeStopStrInOutput: below(3) === 0,
  };
  const echo = below(2) === 1;
  const n = 1 + below(4);
  const logprobs = below(2) * below(4);
  const request: MessageInitShape<typeof CreateCompletionRequestSchema> = {
    model: "m",
    prompt: { case: "promptText", value: prompt },
    ...asked,
    stop: [...asked.stop],
    n,
    echo,
    seed: 0n,
    logprobs,
  };
  const encoded = toBinary(CreateCompletionRequestSchema, create(CreateCompletionRequestSchema, request));
  async function call(name: string): Promise<CreateCompletionResponse[]> {
    const sent: Uint8Array[] = [];
    const method = methods.get(`loqui.v1.ChatService/${name}`);
    const result = await method?.(
      encoded,
      fakeCall((message) => sent.push(message)),
    );
    return [...sent, ...lastOf(result)].map((message) => fromBinary(CreateCompletionResponseSchema, message));
  }

  const [whole] = await call("CreateCompletion");
  const chunks = await call("StreamCompletion");
  for (let index = 0; index < n; index++) {
    const tokens = script.slice(0, endsAt).map((token) => withSeed(token, index));
    const { text, finishReason } = textOf(tokens, asked);
    const choice = whole?.choices[index];
    expect(choice).toMatchObject({ text: echo ? prompt + text : text, finishReason });
    const { tokens: names = [], textOffset = [], topLogprobs = [] } = choice?.logprobs ?? {};
    const ends = [finishReason];
    expect(joined(chunks, index)).toEqual({ text: choice?.text, ends, tokens: names, textOffset, topLogprobs });
    expect(textOffset).toEqual(textOffset.toSorted((a, b) => a - b));
    const characters = [...(choice?.text ?? "")].length;
    expect(textOffset.filter((at) => at >= characters)).toEqual([]);
    const bytesOfText = Buffer.from(choice?.text ?? "");
    if (!text.includes("\ufffd")) {
      expect(Buffer.concat(names.map(bytesNamed)).subarray(0, bytesOfText.length)).toEqual(bytesOfText);
    }
  }
});
