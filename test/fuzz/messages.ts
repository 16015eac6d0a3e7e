import { clone, create, type DescMessage, type DescMethod, type MessageShape } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { Health, HealthCheckRequestSchema } from "../../gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflectionRequestSchema,
  ServerReflection as ServerReflectionV1,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflectionRequestSchema as AlphaRequestSchema,
  ServerReflection as ServerReflectionV1Alpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { ChatRole, ChatService, CreateChatCompletionRequestSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { randomMessage, seededRandom } from "../codec/random-message.ts";
import type { Random } from "./random.ts";

type AnyMessage = MessageShape<DescMessage>;

/** What REST reaches. */
export const restServices = [ModelService, ChatService, EmbeddingService, RerankService, SpeechService];

/** Every method that is served, implemented or not. */
export const methods: readonly DescMethod[] = [
  ...restServices,
  Health,
  ServerReflectionV1,
  ServerReflectionV1Alpha,
].flatMap((service) => service.methods);

/** Those that have something behind them are drawn more often. */
export const weightedMethods: readonly DescMethod[] = [
  ...methods,
  ...Array.from({ length: 15 }, () => ChatService.method.createChatCompletion),
  ...Array.from({ length: 15 }, () => ChatService.method.streamChatCompletion),
  ...[ModelService.method.getModel, ModelService.method.listModels, ModelService.method.loadModel],
];

/** The models of the server under test: `spare` is the one that is unloaded, `good` the one that no case names. */
export const modelNames = { usual: "hello", small: "small", spare: "spare", good: "good" };

/**
 * A request of a method: one that the server can answer (where the method is
 * implemented), that one with a few fields of a random message, or a random one.
 */
export function requestMessage(method: DescMethod, random: Random): AnyMessage {
  const base = answerable(method, random);
  if (base === undefined || random.chance(0.15)) {
    const message = clone(method.input, pooledMessage(method.input, random));
    if (random.chance(0.7)) setModel(method.input, message, modelNames.usual);
    return message;
  }
  if (random.chance(0.5)) return base;
  const mixed = clone(method.input, base);
  const other = reflect(method.input, pooledMessage(method.input, random));
  const target = reflect(method.input, mixed);
  for (let left = 1 + random.int(3); left > 0; left--) {
    const field = random.pick(method.input.fields);
    if (field.name !== "model" && other.isSet(field)) {
      target.set(field, other.get(field));
    }
  }
  return mixed;
}

const poolSize = 100;
let pools = new Map<string, AnyMessage>();
let poolBlock: number | undefined;

/** One of a hundred random messages, the same for all cases of a block: a chat request takes a millisecond to draw. */
function pooledMessage(desc: DescMessage, random: Random): AnyMessage {
  if (poolBlock !== random.block) pools = new Map();
  poolBlock = random.block;
  const slot = random.int(poolSize);
  const key = `${desc.typeName}/${slot}`;
  const known = pools.get(key);
  if (known !== undefined) return known;
  const seed = [...key].reduce((sum, character) => Math.imul(sum, 31) + character.charCodeAt(0), random.block);
  const made = randomMessage(desc, seededRandom(seed));
  pools.set(key, made);
  return made;
}

/** How a request is sent often enough to get to the model; undefined for methods that need nothing of the kind. */
function answerable(method: DescMethod, random: Random): AnyMessage | undefined {
  switch (method.input.typeName) {
    case CreateChatCompletionRequestSchema.typeName:
      return chatRequest(random);
    case HealthCheckRequestSchema.typeName:
      return create(HealthCheckRequestSchema, {
        service: random.pick(["", "loqui.v1.ChatService", modelNames.usual, "nothing"]),
      });
    case ServerReflectionRequestSchema.typeName:
    case AlphaRequestSchema.typeName:
      return create(method.input, { messageRequest: reflectionQuestion(random) } as never);
    default: {
      const message = create(method.input);
      return setModel(method.input, message, modelOf(method, random)) ? message : undefined;
    }
  }
}

function modelOf(method: DescMethod, random: Random): string {
  if (method === ModelService.method.unloadModel) return random.chance(0.02) ? modelNames.spare : "nothing";
  if (method === ModelService.method.loadModel && random.chance(0.02)) return modelNames.spare;
  return random.pick([modelNames.usual, modelNames.usual, modelNames.small, "nothing", ""]);
}

function setModel(desc: DescMessage, message: AnyMessage, model: string): boolean {
  const field = desc.fields.find((candidate) => candidate.name === "model" && candidate.fieldKind === "scalar");
  if (field === undefined) return false;
  reflect(desc, message).set(field, model);
  return true;
}

function chatRequest(random: Random): AnyMessage {
  const text = random.pick(["hi", "", "a longer question, with ünïcode 😀", "x".repeat(random.int(700))]);
  return create(CreateChatCompletionRequestSchema, {
    model: random.pick([modelNames.usual, modelNames.usual, modelNames.usual, modelNames.small]),
    messages: Array.from({ length: 1 + random.int(2) }, () => ({
      role: random.pick([ChatRole.USER, ChatRole.USER, ChatRole.SYSTEM, ChatRole.ASSISTANT]),
      content: { content: { case: "text" as const, value: text } },
    })),
    ...(random.chance(0.9) && { maxTokens: 1 + random.int(4) }),
    ...(random.chance(0.2) && { temperature: random.next() * 2 }),
    ...(random.chance(0.1) && { n: 1 + random.int(3) }),
    ...(random.chance(0.1) && { topK: random.int(40) }),
    ...(random.chance(0.1) && { seed: BigInt(random.int(2 ** 31)) }),
    ...(random.chance(0.1) && { logprobs: true, topLogprobs: random.int(5) }),
    ...(random.chance(0.1) && { stop: ["is", "e"] }),
    ...(random.chance(0.05) && { logitBias: { [random.int(300)]: random.int(200) - 100 } }),
  });
}

function reflectionQuestion(random: Random): { case: string; value: unknown } {
  const name = random.pick(["loqui.v1.ChatService", "loqui/v1/chat.proto", "grpc.health.v1.Health", "", "x", "a.b.c"]);
  return random.pick([
    { case: "listServices", value: "" },
    { case: "fileByFilename", value: name },
    { case: "fileContainingSymbol", value: name },
    { case: "allExtensionNumbersOfType", value: "google.protobuf.FieldOptions" },
    { case: "fileContainingExtension", value: { containingType: name, extensionNumber: random.pick([51001, 0, -1]) } },
  ]);
}
