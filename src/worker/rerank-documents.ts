import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RerankDocument, RerankDocumentObjectSchema, RerankRequest } from "../../gen/loqui/v1/rerank_pb.ts";
import { sourceTree } from "../codec/raw-spans.ts";
import { LoquiError } from "../errors.ts";
import type { NamedText } from "./rerank-pairs.ts";
import { checkTextBytes } from "./text-turns.ts";

/**
 * What of a document is read: the text, or where `rank_fields` are given those
 * members, each on a line as `name: value`. Throws `invalid_request`, naming the
 * document and the member, for one that isn't there, and for members of more than
 * 1 MiB.
 */
export function documentText({ documents, rankFields }: RerankRequest, index: number): NamedText {
  const param = `documents[${index}]`;
  const document = documents[index];
  if (rankFields.length === 0) {
    const text = textOf(document) ?? missing(`${param}.text`, "is required where rank_fields is not given");
    return { param, text };
  }
  const members = membersOf(document, param);
  const text = rankFields.map((name) => `${name}: ${members.get(name)}`).join("\n");
  return { param, text, length: text.length + members.length };
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

/** The members of a document, and how many characters they are read from. */
interface Members {
  /** As it stands in the JSON, a string without its quotes. */
  get(name: string): string;
  readonly length: number;
}

function membersOf(document: RerankDocument | undefined, at: string): Members {
  const form = document?.document;
  const json = form?.case === "object" ? form.value.otherMembers : "";
  if (json !== "") checkObject(json, at);
  const source = json === "" ? undefined : sourceTree(json);
  const why = form?.case === "object" ? "" : ": the document is a text";
  return {
    length: json.length,
    get(name) {
      const value = name === "text" ? textOf(document) : source?.child(name)?.text();
      if (value === undefined) return missing(`${at}.${name}`, `is not there, and rank_fields names it${why}`);
      return name !== "text" && value.startsWith('"') ? (JSON.parse(value) as string) : value;
    },
  };
}

/** Over gRPC anything may stand there. */
function checkObject(json: string, at: string): void {
  const param = `${at}.other_members`;
  checkTextBytes(json, param);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {}
  if (typeof value !== "object" || value === null || Array.isArray(value)) missing(param, "is not a JSON object");
}

function missing(param: string, what: string): never {
  throw new LoquiError("invalid_request", `${param} ${what}`, { param });
}
