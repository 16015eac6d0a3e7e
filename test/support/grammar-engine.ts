import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { findAddons } from "../../src/engines/llama/addon-file.ts";
import { byteVocabulary } from "./gguf-vocabulary.ts";
import { writeScriptedModel } from "./scripted-model.ts";

/** llama.cpp's own matcher of GBNF grammars, fed with tokens of one byte each. */
export interface GrammarEngine {
  /** Parses a grammar. Throws where llama.cpp does. */
  open(gbnf: string): OpenGrammar;
  close(): Promise<void>;
}

export interface OpenGrammar {
  /** Whether the model could write exactly this text and then end its turn. */
  accepts(text: string): boolean;
}

type Grammar = { readonly brand: "grammar" };
type State = { readonly brand: "state" };
interface Model {
  init(): Promise<boolean>;
  dispose(): Promise<void>;
}
interface Addon {
  AddonModel: new (path: string, params: { addonExports: Addon; gpuLayers: number; useMmap: boolean }) => Model;
  AddonGrammar: new (gbnf: string, params: { addonExports: Addon; rootRuleName: string }) => Grammar;
  AddonGrammarEvaluationState: new (model: Model, grammar: Grammar) => State;
  AddonSampler: {
    acceptGrammarEvaluationStateToken(state: State, token: number): void;
    canBeNextTokenForGrammarEvaluationState(state: State, token: number): boolean;
  };
  getGpuType(): string | false | undefined;
  setLogger(logger: (level: number, message: string) => void): void;
  loadBackends(folder?: string): void;
  init(): Promise<void>;
}

/** Loads the addon and a scripted model, whose vocabulary is the 256 bytes and some control tokens. */
export async function openGrammarEngine(): Promise<GrammarEngine> {
  const [{ path }] = findAddons();
  const addon: Addon = createRequire(import.meta.url)(path);
  addon.setLogger(() => {});
  addon.loadBackends();
  if (addon.getGpuType() === undefined) addon.loadBackends(dirname(path));
  await addon.init();

  const folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  const file = join(folder, "bytes.gguf");
  writeScriptedModel(file, { reply: ["a"] });
  const vocabulary = byteVocabulary();
  const end = vocabulary.control("<|im_end|>");
  const tokens = Array.from({ length: 256 }, (_, byte) => vocabulary.piece(Uint8Array.of(byte)));
  const model = new addon.AddonModel(file, { addonExports: addon, gpuLayers: 0, useMmap: true });
  if (!(await model.init())) throw new Error("the scripted model can't be loaded");

  return {
    open(gbnf) {
      const grammar = new addon.AddonGrammar(gbnf, { addonExports: addon, rootRuleName: "root" });
      const { acceptGrammarEvaluationStateToken, canBeNextTokenForGrammarEvaluationState } = addon.AddonSampler;
      return {
        accepts(text) {
          const state = new addon.AddonGrammarEvaluationState(model, grammar);
          for (const byte of Buffer.from(text)) {
            const token = tokens[byte] ?? 0;
            if (!canBeNextTokenForGrammarEvaluationState(state, token)) return false;
            acceptGrammarEvaluationStateToken(state, token);
          }
          return canBeNextTokenForGrammarEvaluationState(state, end);
        },
      };
    },
    async close() {
      await model.dispose();
      rmSync(folder, { recursive: true });
    },
  };
}
