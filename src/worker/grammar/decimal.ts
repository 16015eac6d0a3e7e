import type { JsonText } from "./json-text.ts";

/** An exact decimal number: ±`digits` × 10^−`scale`, without trailing zeros in `digits` where `scale` is positive. */
export interface Decimal {
  readonly negative: boolean;
  /** The magnitude's digits as an integer, never negative. */
  readonly digits: bigint;
  /** Digits after the decimal point, never negative. */
  readonly scale: number;
}

/** Reads a JSON number. Undefined where its exponent is beyond what a double holds. */
export function parseDecimal(text: string): Decimal | undefined {
  const [mantissa = "", exponentText = "0"] = text.toLowerCase().split("e");
  const [integer = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const exponent = Number(exponentText);
  if (Math.abs(exponent) > 400 || integer.length + fraction.length > 800) return undefined;
  const magnitude = decimalOf(BigInt(integer + fraction), fraction.length - exponent);
  return { ...magnitude, negative: text.startsWith("-") && magnitude.digits !== 0n };
}

/** Below 0 where `a` is less, 0 where they are equal, above 0 where it is more. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const difference = signed(a) * 10n ** BigInt(b.scale) - signed(b) * 10n ** BigInt(a.scale);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Whether `a` is an integer multiple of `b`, which isn't zero. */
export function isMultiple(a: Decimal, b: Decimal): boolean {
  return (a.digits * 10n ** BigInt(b.scale)) % (b.digits * 10n ** BigInt(a.scale)) === 0n;
}

/** `value` × 10^−`scale`. */
export function decimalOf(value: bigint, scale = 0): Decimal {
  let digits = value < 0n ? -value : value;
  let decimals = scale;
  if (decimals < 0) {
    digits *= 10n ** BigInt(-decimals);
    decimals = 0;
  }
  while (decimals > 0 && digits % 10n === 0n) {
    digits /= 10n;
    decimals--;
  }
  return { negative: value < 0n, digits, scale: decimals };
}

/** The least positive number that is an integer multiple of both. */
export function commonMultiple(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  const [x, y] = [a.digits * 10n ** BigInt(scale - a.scale), b.digits * 10n ** BigInt(scale - b.scale)];
  return decimalOf((x / gcd(x, y)) * y, scale);
}

/** Greatest common divisor of two numbers that aren't negative. */
export function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

/**
 * A text that two JSON values share exactly when JSON Schema calls them equal:
 * 1 and 1.0 are, and objects with the same members in another order.
 */
export function canonical(value: JsonText): string {
  switch (value.kind) {
    case "null":
      return "null";
    case "boolean":
      return String(value.value);
    case "string":
      return JSON.stringify(value.value);
    case "number": {
      const decimal = parseDecimal(value.text);
      if (decimal === undefined) return value.text;
      return `${decimal.negative ? "-" : ""}${decimal.digits}e-${decimal.scale}`;
    }
    case "array":
      return `[${value.items.map(canonical).join(",")}]`;
    case "object":
      return `{${[...value.members]
        .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
        .sort()
        .join(",")}}`;
    default:
      return value satisfies never;
  }
}

function signed({ negative, digits }: Decimal): bigint {
  return negative ? -digits : digits;
}
