import type { Message } from "@bufbuild/protobuf";
import type {
  AllowedTools,
  ChatMessage,
  ContentPart,
  ContentParts,
  CreateChatCompletionRequest,
  CreateCompletionRequest,
  FunctionCall,
  FunctionCallChoice,
  FunctionDefinition,
  MessageContent,
  NamedJsonSchema,
  ResponseFormat,
  ResponseFormatJsonObject,
  ResponseFormatJsonSchema,
  ResponseFormatText,
  StreamOptions,
  StructuredOutputs,
  Tool,
  ToolCall,
  ToolChoice,
  ToolName,
  ToolReference,
  ToolSelection,
} from "../../gen/loqui/v1/chat_pb.ts";
import type { Texts, TokenIdLists, TokenIds } from "../../gen/loqui/v1/common_pb.ts";
import type {
  CreateEmbeddingsRequest,
  EmbedInputs,
  EmbedRequest,
  EmbedSparseRequest,
  SimilarityInputs,
  SimilarityParameters,
  SimilarityRequest,
} from "../../gen/loqui/v1/embedding_pb.ts";
import type {
  RerankDocument,
  RerankDocumentObject,
  RerankRequest,
  RerankTextsRequest,
  ScoreRequest,
} from "../../gen/loqui/v1/rerank_pb.ts";
import type { Shown } from "./chat-template.ts";

/** What becomes of a field of a request for a local model. Never nothing. */
export type Treatment =
  /** It does what the schema says. `test`: where the effect is shown. */
  | { readonly kind: "honoured"; readonly test: string }
  /** The request is refused by the field's name. `what`: for these values; the others ask for nothing. */
  | { readonly kind: "refused"; readonly what?: string }
  /** As honoured, where the model's template shows it; else as ignored. */
  | { readonly kind: "shown"; readonly test: string; readonly by: (shown: Shown, message: ChatMessage) => boolean }
  /** It tells something and asks for nothing. */
  | { readonly kind: "informs" }
  /** It has no effect, which `x-loqui-ignored` says, where `asks` says that something is asked for. */
  | { readonly kind: "ignored"; readonly asks?: (value: unknown) => boolean }
  /** JSON of variables for the template: as honoured those that it names, as ignored the others. */
  | { readonly kind: "variables"; readonly test: string }
  /** Members that the schema doesn't know, each of which `x-loqui-ignored` names. */
  | { readonly kind: "members" };

/** A treatment for each field of a message, for a oneof one for each of its members: tsc misses what is missing. */
export type FieldTable<M extends Message = Message> = {
  readonly [K in Exclude<keyof M, "$typeName" | "$unknown">]-?: [CaseOf<M[K]>] extends [never]
    ? Treatment
    : { readonly [C in CaseOf<M[K]>]: Treatment };
};

type CaseOf<V> = V extends { case: infer C extends string } ? C : never;

const informs: Treatment = { kind: "informs" };
const ignored: Treatment = { kind: "ignored" };
const members: Treatment = { kind: "members" };
const asked = (value: unknown): boolean => value === true;
const testOf = (name: string): string => `test/${name}.test.ts`;
const honoured = (test: string): Treatment => ({ kind: "honoured", test: testOf(test) });
const refused = (what?: string): Treatment => ({ kind: "refused", ...(what !== undefined && { what }) });

const here = "request-fields";
const effects = "worker/chat-fields";
const sampling = "worker/chat-request";
const structure = "worker/structure";
const tokens = "worker/tokenization";
const template = "worker/chat-template";
const toolCalls = "worker/chat-tools";
const steering = "worker/chat-steering";
const completions = "worker/completions";
const embeddings = "embeddings";
const embeddingsOfTei = "tei-embeddings";
const completionLogprobs = "worker/completion-logprobs";
const reranking = "rerank";

/** What chat and completions have in common. */
const generationFields = {
  model: honoured("backends/worker/worker-backend"),
  stream: honoured("clients/openai-sdk"),
  temperature: honoured(sampling),
  maxTokens: honoured("backends/worker/worker-backend"),
  topP: honoured(sampling),
  stop: honoured("backends/worker/worker-backend"),
  n: honoured("worker/choices"),
  seed: honoured(sampling),
  streamOptions: honoured("clients/openai-sdk"),
  frequencyPenalty: honoured(sampling),
  presencePenalty: honoured(sampling),
  logitBias: honoured(sampling),
  user: informs,
  topK: honoured(sampling),
  minP: honoured(sampling),
  typicalP: refused("below 1"),
  repeatPenalty: honoured(sampling),
  repeatLastN: honoured(sampling),
  dryMultiplier: honoured(effects),
  dryBase: honoured(effects),
  dryAllowedLength: honoured(effects),
  dryPenaltyLastN: honoured(effects),
  drySequenceBreakers: honoured(effects),
  xtcProbability: honoured(effects),
  xtcThreshold: honoured(effects),
  ignoreEos: honoured(sampling),
  minTokens: honoured(steering),
  stopTokenIds: honoured(effects),
  includeStopStrInOutput: honoured(effects),
  skipSpecialTokens: honoured(effects),
  responseFormat: honoured(structure),
  grammar: honoured(structure),
  jsonSchema: honoured(structure),
  guidedRegex: honoured(structure),
  guidedChoice: honoured(structure),
  structuredOutputs: honoured(structure),
  cachePrompt: honoured("backends/worker/worker-backend"),
  cacheSalt: honoured("backends/worker/worker-backend"),
  priority: honoured("worker/scheduler"),
  timingsPerToken: honoured(effects),
  returnProgress: honoured(effects),
  extra: members,
} as const satisfies Partial<FieldTable<CreateChatCompletionRequest>> & Partial<FieldTable<CreateCompletionRequest>>;

const chat: FieldTable<CreateChatCompletionRequest> = {
  ...generationFields,
  messages: honoured(tokens),
  maxCompletionTokens: honoured("clients/openai-sdk"),
  tools: honoured(toolCalls),
  toolChoice: honoured(toolCalls),
  reasoningEffort: honoured(toolCalls),
  logprobs: honoured("clients/openai-logprobs"),
  topLogprobs: honoured("clients/openai-logprobs"),
  parallelToolCalls: honoured(toolCalls),
  safetyIdentifier: informs,
  metadata: informs,
  store: { kind: "ignored", asks: asked },
  serviceTier: ignored,
  modalities: refused("`audio`"),
  audio: refused(),
  prediction: ignored,
  webSearchOptions: refused(),
  verbosity: honoured(template),
  // All requests for a model go to one worker, which finds shared prefixes by itself.
  promptCacheKey: informs,
  promptCacheRetention: ignored,
  promptCacheOptions: ignored,
  moderation: refused(),
  functions: honoured(steering),
  functionCall: honoured(steering),
  chatTemplateKwargs: { kind: "variables", test: testOf(tokens) },
  addGenerationPrompt: honoured(tokens),
  continueFinalMessage: honoured("worker/open-message"),
  reasoningFormat: honoured("worker/chat-reasoning"),
  thinkingBudgetTokens: honoured(steering),
  retrieval: refused(),
};

const completion: FieldTable<CreateCompletionRequest> = {
  ...generationFields,
  prompt: {
    promptText: honoured(completions),
    promptTexts: honoured(completions),
    promptTokens: honoured(completions),
    promptTokenLists: honoured(completions),
  },
  logprobs: honoured(completionLogprobs),
  suffix: honoured(completions),
  echo: honoured(completions),
  bestOf: honoured(completions),
};

const embedding: FieldTable<CreateEmbeddingsRequest> = {
  model: honoured(embeddings),
  input: {
    text: honoured(embeddings),
    texts: honoured(embeddings),
    tokens: honoured(embeddings),
    tokenLists: honoured(embeddings),
  },
  encodingFormat: honoured(embeddings),
  dimensions: honoured(embeddings),
  user: informs,
  inputType: honoured(embeddings),
  promptName: honoured(embeddings),
  instruction: honoured(embeddings),
  truncate: honoured(embeddings),
  normalize: honoured(embeddings),
  returnSparse: honoured(embeddings),
  returnMultivector: honoured(embeddings),
};

/** What the requests for embeddings in TEI's shape have in common. */
const teiEmbedding = {
  model: honoured(embeddingsOfTei),
  inputs: honoured(embeddingsOfTei),
  truncate: honoured(embeddingsOfTei),
  truncationDirection: honoured(embeddingsOfTei),
  promptName: honoured(embeddingsOfTei),
} as const;

/**
 * Every field of a request for an answer or a ranking and of the messages in it,
 * by the message's name. `x-loqui-ignored` and docs/request-fields.md come from here,
 * and test/request-fields.test.ts asks a server whether it is true. What is
 * refused, unsupported.ts, chat-messages.ts and rerank-pairs.ts refuse.
 */
export const requestFields = new Map<string, FieldTable>(
  Object.entries({
    CreateChatCompletionRequest: chat,
    CreateCompletionRequest: completion,
    CreateEmbeddingsRequest: embedding,
    EmbedRequest: {
      ...teiEmbedding,
      normalize: honoured(embeddingsOfTei),
      dimensions: honoured(embeddingsOfTei),
    } satisfies FieldTable<EmbedRequest>,
    EmbedSparseRequest: teiEmbedding satisfies FieldTable<EmbedSparseRequest>,
    EmbedInputs: {
      inputs: {
        text: honoured(embeddingsOfTei),
        texts: honoured(embeddingsOfTei),
        tokens: honoured(embeddingsOfTei),
        tokenLists: honoured(embeddingsOfTei),
      },
    } satisfies FieldTable<EmbedInputs>,
    SimilarityRequest: {
      model: honoured(embeddingsOfTei),
      inputs: honoured(embeddingsOfTei),
      parameters: honoured(embeddingsOfTei),
    } satisfies FieldTable<SimilarityRequest>,
    SimilarityInputs: {
      sourceSentence: honoured(embeddingsOfTei),
      sentences: honoured(embeddingsOfTei),
    } satisfies FieldTable<SimilarityInputs>,
    SimilarityParameters: {
      truncate: honoured(embeddingsOfTei),
      truncationDirection: honoured(embeddingsOfTei),
      promptName: honoured(embeddingsOfTei),
    } satisfies FieldTable<SimilarityParameters>,
    Texts: { texts: honoured(here) } satisfies FieldTable<Texts>,
    TokenIds: { ids: honoured(here) } satisfies FieldTable<TokenIds>,
    TokenIdLists: { lists: honoured(here) } satisfies FieldTable<TokenIdLists>,
    StreamOptions: {
      includeUsage: honoured("clients/openai-sdk"),
      includeObfuscation: { kind: "ignored", asks: asked },
      continuousUsageStats: honoured(effects),
    } satisfies FieldTable<StreamOptions>,
    ChatMessage: {
      role: honoured(template),
      content: honoured(template),
      name: {
        kind: "shown",
        test: testOf(here),
        by: ({ namedRoles }, { role }) => namedRoles.includes(role),
      },
      toolCalls: honoured(here),
      toolCallId: honoured(toolCalls),
      reasoningContent: honoured(template),
      refusal: honoured(template),
      audio: refused(),
      functionCall: honoured(here),
      annotations: informs,
      extra: members,
    } satisfies FieldTable<ChatMessage>,
    MessageContent: {
      content: { text: honoured(template), parts: honoured(template) },
    } satisfies FieldTable<MessageContent>,
    ContentParts: { parts: honoured(template) } satisfies FieldTable<ContentParts>,
    ContentPart: {
      part: {
        text: honoured(template),
        imageUrl: refused(),
        inputAudio: refused(),
        file: refused(),
        refusal: honoured(template),
      },
      promptCacheBreakpoint: ignored,
      extra: members,
    } satisfies FieldTable<ContentPart>,
    Tool: { tool: { function: honoured(toolCalls), custom: refused() } } satisfies FieldTable<Tool>,
    FunctionDefinition: {
      name: honoured(toolCalls),
      description: honoured(template),
      parameters: honoured(toolCalls),
      strict: honoured(steering),
    } satisfies FieldTable<FunctionDefinition>,
    ToolChoice: {
      choice: { mode: honoured(steering), selection: honoured(toolCalls) },
    } satisfies FieldTable<ToolChoice>,
    ToolSelection: {
      selection: { function: honoured(steering), custom: refused(), allowedTools: honoured(toolCalls) },
    } satisfies FieldTable<ToolSelection>,
    ToolName: { name: honoured(toolCalls) } satisfies FieldTable<ToolName>,
    AllowedTools: {
      mode: honoured(steering),
      tools: honoured(toolCalls),
    } satisfies FieldTable<AllowedTools>,
    ToolReference: { tool: { function: honoured(toolCalls), custom: refused() } } satisfies FieldTable<ToolReference>,
    ToolCall: {
      id: honoured(template),
      call: { function: honoured(toolCalls), custom: refused() },
      extra: members,
    } satisfies FieldTable<ToolCall>,
    FunctionCall: {
      name: honoured(template),
      arguments: honoured(template),
    } satisfies FieldTable<FunctionCall>,
    FunctionCallChoice: {
      choice: { mode: honoured(steering), function: honoured(steering) },
    } satisfies FieldTable<FunctionCallChoice>,
    ResponseFormat: {
      format: { text: honoured(structure), jsonObject: honoured(structure), jsonSchema: honoured(structure) },
    } satisfies FieldTable<ResponseFormat>,
    ResponseFormatText: {} satisfies FieldTable<ResponseFormatText>,
    ResponseFormatJsonObject: { schema: honoured(structure) } satisfies FieldTable<ResponseFormatJsonObject>,
    ResponseFormatJsonSchema: { jsonSchema: honoured(structure) } satisfies FieldTable<ResponseFormatJsonSchema>,
    NamedJsonSchema: {
      name: informs,
      description: ignored,
      schema: honoured(structure),
      strict: honoured(structure),
    } satisfies FieldTable<NamedJsonSchema>,
    StructuredOutputs: {
      json: honoured(structure),
      regex: honoured(structure),
      choice: honoured(structure),
      grammar: honoured(structure),
      jsonObject: honoured(structure),
    } satisfies FieldTable<StructuredOutputs>,
    RerankRequest: {
      model: honoured(reranking),
      query: honoured(reranking),
      documents: honoured(reranking),
      topN: honoured(reranking),
      returnDocuments: honoured(reranking),
      maxTokensPerDoc: honoured(reranking),
      rankFields: honoured(reranking),
      instruction: refused("where the model takes none"),
      rawScores: honoured(reranking),
    } satisfies FieldTable<RerankRequest>,
    RerankDocument: {
      document: { text: honoured(reranking), object: honoured(reranking) },
    } satisfies FieldTable<RerankDocument>,
    RerankDocumentObject: {
      text: honoured(reranking),
      otherMembers: honoured(reranking),
    } satisfies FieldTable<RerankDocumentObject>,
    RerankTextsRequest: {
      model: honoured(reranking),
      query: honoured(reranking),
      texts: honoured(reranking),
      rawScores: honoured(reranking),
      returnText: honoured(reranking),
      truncate: honoured(reranking),
      truncationDirection: honoured(reranking),
    } satisfies FieldTable<RerankTextsRequest>,
    ScoreRequest: {
      model: honoured(reranking),
      text1: honoured(reranking),
      text2: honoured(reranking),
      truncatePromptTokens: honoured(reranking),
      rawScores: honoured(reranking),
    } satisfies FieldTable<ScoreRequest>,
  }).map(([name, table]) => [`loqui.v1.${name}`, table as FieldTable]),
);
