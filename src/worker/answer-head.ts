import { randomUUID } from "node:crypto";

/** What an answer is, and of which model. */
export interface AnswerKind {
  /** What its id begins with, as OpenAI's does: `chatcmpl`. */
  readonly prefix: string;
  readonly object: string;
  readonly model: string;
  /** Names the configuration that answers. */
  readonly fingerprint: string;
}

/** What all messages of one answer have in common: its id is a new one with each call. */
export function answerHead({ prefix, object, model, fingerprint }: AnswerKind) {
  return {
    id: `${prefix}-${randomUUID().replaceAll("-", "")}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model,
    systemFingerprint: fingerprint,
  };
}
