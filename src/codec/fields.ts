/**
 * A message as the record it is in memory: the codec's core reads and writes
 * fields by the names that the descriptor gives, and a field holds what its
 * plan says.
 */
export type Fields = Record<string, unknown>;

/** The value of a oneof. */
export interface OneofValue {
  readonly case: string | undefined;
  readonly value?: unknown;
}

/** Sets a key of a map field: `__proto__` is a key like any other. */
export function setKey(map: Fields, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
  } else map[key] = value;
}
