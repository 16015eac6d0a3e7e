import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RerankDocument, RerankDocumentObjectSchema, RerankRequest } from "../../gen/loqui/v1/rerank_pb.ts";
import { sourceTree } from "../codec/raw-spans.ts";
import { LoquiError } from "../errors.ts";

/**
 * What of a document is read: the text, or where `rank_fields` are given those
 * members, each on a line as `name: value`. Throws `invalid_request`, naming the
 * document and the member, for one that isn't there.
 */
export function documentText({ documents, rankFields }: RerankRequest, index: number): string {
  const at = `documents[${index}]`;
  const document = documents[index];
  if (rankFields.length > 0) return rankFields.map((name) => `${name}: ${member(document, name, at)}`).join("\n");
  return textOf(document) ?? missing(`${at}.text`, "is required where rank_fields is not given");
}

/** A document as a result repeats it. */
export function repeated(document: RerankDocument | undefined): MessageInitShape<typeof RerankDocumentObjectSchema> {
  const form = document?.document;
  return form?.case === "object" ? form.value : { text: form?.value ?? "" };
}

function textOf(document: RerankDocument | undefined): string | undefined {
  const form = document?.document;
  return form?.case === "object" ? form.value.text : form?.value;
}

/** A member as it stands in the JSON, a string without its quotes. */
function member(document: RerankDocument | undefined, name: string, at: string): string {
  if (name === "text") return textOf(document) ?? missing(`${at}.text`, "is not there, and rank_fields names it");
  const form = document?.document;
  if (form?.case !== "object")
    return missing(`${at}.${name}`, "is not there, and rank_fields names it: the document is a text");
  const json = form.value.otherMembers || "{}";
  checkObject(json, at);
  const source = sourceTree(json).child(name)?.text();
  if (source === undefined) return missing(`${at}.${name}`, "is not there, and rank_fields names it");
  return source.startsWith('"') ? (JSON.parse(source) as string) : source;
}

/** Over gRPC anything may stand there. */
function checkObject(json: string, at: string): void {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {}
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return;
  missing(`${at}.other_members`, "is not a JSON object");
}

function missing(param: string, what: string): never {
  throw new LoquiError("invalid_request", `${param} ${what}`, { param });
}
