import type { DescService } from "@bufbuild/protobuf";
import { LoquiError } from "../errors.ts";
import { type Binding, compileBindings } from "./bindings.ts";
import type { TemplateVariable } from "./path-template.ts";

/** What a request line leads to. */
export type RouteMatch =
  | { readonly kind: "found"; readonly binding: Binding; readonly variables: readonly PathValue[] }
  /** The path is known; `allow` are the HTTP methods that it has, HEAD and OPTIONS included. */
  | { readonly kind: "method_not_allowed"; readonly allow: readonly string[] }
  | { readonly kind: "not_found" };

/** The text that a path gives a field. */
export interface PathValue {
  readonly fieldPath: string;
  readonly text: string;
}

/** All paths of the services. */
export interface RouteTable {
  readonly bindings: readonly Binding[];
  /**
   * Finds the binding for an HTTP method and the path of a request target,
   * without its query, not decoded. Of several templates a literal wins over
   * `*`, and `*` over `**`. HEAD is answered by GET.
   *
   * The last segment's `:verb` is cut where this table has that verb for this
   * HTTP method and path; otherwise the colon belongs to the segment. An empty
   * segment matches nothing: a trailing slash is another path. Throws
   * `invalid_request` for invalid percent-encoding.
   */
  match(httpMethod: string, path: string): RouteMatch;
}

interface Node {
  readonly literals: Map<string, Node>;
  /** `*` */
  single: Node | undefined;
  /** `**`, always the last */
  rest: Node | undefined;
  /** Bindings that end here: verb (`""` for none), then HTTP method. */
  readonly ends: Map<string, Map<string, Binding>>;
}

function createNode(): Node {
  return { literals: new Map(), single: undefined, rest: undefined, ends: new Map() };
}

/** Compiles the route table. Throws where two bindings claim the same HTTP method and path. */
export function createRouteTable(services: Iterable<DescService>): RouteTable {
  const bindings = compileBindings(services);
  const root = createNode();
  for (const binding of bindings) insert(root, binding);
  return {
    bindings,
    match(httpMethod, path) {
      if (!path.startsWith("/")) return { kind: "not_found" };
      const raw = path.slice(1).split("/");
      if (raw.includes("")) return { kind: "not_found" };
      const segments = raw.map(decodeSegment);
      const lookup: Lookup = { httpMethod, allow: new Set() };
      const last = raw.at(-1) ?? "";
      const colon = last.lastIndexOf(":");
      if (colon > 0) {
        const cut = [...segments.slice(0, -1), decodeSegment(last.slice(0, colon))];
        const found = find(root, cut, 0, decodeSegment(last.slice(colon + 1)), lookup);
        if (found !== undefined) return matched(found, cut);
      }
      const found = find(root, segments, 0, "", lookup);
      if (found !== undefined) return matched(found, segments);
      if (lookup.allow.size === 0) return { kind: "not_found" };
      if (lookup.allow.has("GET")) lookup.allow.add("HEAD");
      lookup.allow.add("OPTIONS");
      return { kind: "method_not_allowed", allow: [...lookup.allow].sort() };
    },
  };
}

function insert(root: Node, binding: Binding): void {
  const { template, httpMethod, targets } = binding;
  let node = root;
  for (const segment of template.segments) {
    if (segment.kind === "literal") {
      const next = node.literals.get(segment.text) ?? createNode();
      node.literals.set(segment.text, next);
      node = next;
    } else if (segment.kind === "*") {
      node.single ??= createNode();
      node = node.single;
    } else {
      node.rest ??= createNode();
      node = node.rest;
    }
  }
  const verb = template.verb ?? "";
  const ends = node.ends.get(verb) ?? new Map<string, Binding>();
  const other = ends.get(httpMethod);
  if (other !== undefined) {
    const names = [other, binding].map(({ targets }) => targets.at(-1)?.method.toString()).join(" and ");
    throw new Error(`${httpMethod} ${template.source} is claimed twice, by ${names}`);
  }
  if (targets.length === 0) throw new Error(`${httpMethod} ${template.source} leads nowhere`);
  ends.set(httpMethod, binding);
  node.ends.set(verb, ends);
}

interface Lookup {
  readonly httpMethod: string;
  /** HTTP methods of the paths that matched but for the method. */
  readonly allow: Set<string>;
}

function find(node: Node, segments: readonly string[], at: number, verb: string, lookup: Lookup): Binding | undefined {
  const segment = segments[at];
  if (segment === undefined) return end(node, verb, lookup);
  const literal = node.literals.get(segment);
  const found =
    (literal && find(literal, segments, at + 1, verb, lookup)) ??
    (node.single && find(node.single, segments, at + 1, verb, lookup));
  return found ?? (node.rest && end(node.rest, verb, lookup));
}

function end(node: Node, verb: string, { httpMethod, allow }: Lookup): Binding | undefined {
  const ends = node.ends.get(verb);
  if (ends === undefined) return undefined;
  const found = ends.get(httpMethod) ?? (httpMethod === "HEAD" ? ends.get("GET") : undefined) ?? ends.get("*");
  if (found === undefined) for (const known of ends.keys()) allow.add(known);
  return found;
}

function matched(binding: Binding, segments: readonly string[]): RouteMatch {
  const variables = binding.template.variables.map((variable) => ({
    fieldPath: variable.fieldPath,
    text: capture(variable, segments),
  }));
  return { kind: "found", binding, variables };
}

/**
 * http.proto leaves `%2F` encoded in variables of several segments, so that
 * they can be told apart. Where the variable ends with `**` there is nothing to
 * tell apart, and SDKs send model ids with `%2F`: there it is decoded.
 */
function capture({ start, end }: TemplateVariable, segments: readonly string[]): string {
  const captured = segments.slice(start, end);
  if (end === undefined || captured.length === 1) return captured.join("/");
  return captured.map((segment) => segment.replaceAll("/", "%2F")).join("/");
}

function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new LoquiError(
      "invalid_request",
      `the path segment ${JSON.stringify(segment)} is not valid percent-encoding`,
    );
  }
}
