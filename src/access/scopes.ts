/**
 * What a key may do: use models, see them, change them, read `/metrics`, all of
 * it. Methods name theirs in `loqui.rest.v1.method`.
 */
export const scopeNames = ["inference", "models:read", "models:write", "metrics:read", "admin"] as const;

export type Scope = (typeof scopeNames)[number];

/** Every scope: what a key of LOQUI_API_KEYS has, and everybody where no key is asked for. */
export const allScopes: ReadonlySet<Scope> = new Set(scopeNames);

/** Whether a string (of an annotation, say) is the name of a scope. */
export function isScope(name: string): name is Scope {
  return (scopeNames as readonly string[]).includes(name);
}

/** Whether these scopes allow what needs `scope`. `admin` includes all others. */
export function allows(scopes: ReadonlySet<Scope>, scope: Scope): boolean {
  return scopes.has(scope) || scopes.has("admin");
}
