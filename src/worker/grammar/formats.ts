import type { NumberRules } from "./numbers.ts";

/**
 * Regular expressions of the string formats. Each text that one matches is
 * valid by the RFC that JSON Schema names for the format; some leave rare
 * spellings out (leap seconds, `urn:uuid:`, IP literals in URIs), and fraction
 * digits and labels have bounds.
 */
export const stringFormats: Readonly<Record<string, string>> = (() => {
  const hex = "[0-9a-fA-F]";
  const leap = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
  const date =
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)" +
    `|02-(?:0[1-9]|1[0-9]|2[0-8]))|${leap}-02-29)`;
  const hour = "(?:[01][0-9]|2[0-3])";
  const time = `${hour}:[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-]${hour}:[0-5][0-9])`;
  const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  const ipv4 = `(?:${octet}\\.){3}${octet}`;
  const group = `${hex}{1,4}`;
  // RFC 4291, 2.2: eight groups, one run of two or more zero groups as ::, the last two as IPv4.
  const last = `(?:${group}:${group}|${ipv4})`;
  const ipv6 = [
    `(?:${group}:){6}${last}`,
    ...[5, 4, 3, 2, 1, 0].map((after) => {
      const before = after === 5 ? "" : `(?:(?:${group}:){0,${4 - after}}${group})?`;
      return `${before}::(?:${group}:){${after}}${last}`;
    }),
    `(?:(?:${group}:){0,5}${group})?::${group}`,
    `(?:(?:${group}:){0,6}${group})?::`,
  ].join("|");
  const label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
  const shortLabel = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,33}[a-zA-Z0-9])?";
  const atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+";
  const pchar = `(?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|%${hex}{2})`;
  const query = `(?:[a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%${hex}{2})*`;
  const host = "(?:[a-zA-Z0-9._~-]+)";
  const tail = `(?:\\?${query})?(?:#${query})?`;
  const path = `(?:/${pchar}*)*`;
  const authority = `//(?:[a-zA-Z0-9._~!$&'()*+,;=:-]+@)?${host}(?::[0-9]{1,5})?`;
  const scheme = "[a-zA-Z][a-zA-Z0-9+.-]*:";
  const pointer = "(?:/(?:[^~/]|~[01])*)*";
  return {
    date,
    time,
    "date-time": `${date}T${time}`,
    // RFC 3339, appendix A: units in order, weeks alone; at least one.
    duration: [
      "P[0-9]{1,9}W",
      "P(?:[0-9]{1,9}Y(?:[0-9]{1,9}M)?(?:[0-9]{1,9}D)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)",
      "P(?:[0-9]{1,9}Y)?(?:[0-9]{1,9}M)?(?:[0-9]{1,9}D)?T(?:[0-9]{1,9}H(?:[0-9]{1,9}M)?(?:[0-9]{1,9}S)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S)",
    ].join("|"),
    uuid: `${hex}{8}-${hex}{4}-${hex}{4}-${hex}{4}-${hex}{12}`,
    email: `${atom}(?:\\.${atom})*@(?:${label}\\.)+${label}`,
    // At most 253 characters in all: seven labels of 35.
    hostname: `(?:${shortLabel}\\.){0,6}${shortLabel}`,
    ipv4,
    ipv6,
    uri: `${scheme}(?:${authority}${path}|/(?:${pchar}+${path})?|${pchar}+${path})${tail}`,
    "uri-reference": `(?:(?:${scheme})?${authority}${path}|/(?:${pchar}+${path})?|(?:[a-zA-Z0-9._~!$&'()*+,;=@-]|%${hex}{2})+${path})?${tail}`,
    "json-pointer": pointer,
    "relative-json-pointer": `(?:0|[1-9][0-9]{0,8})(?:#|${pointer})`,
    // OpenAPI's base64.
    byte: "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
  };
})();

/** Formats that say how a value is shown or stored, and allow any. */
export const openFormats: ReadonlySet<string> = new Set(["password", "binary", "float", "double"]);

/** Integer formats of OpenAPI and of Rust's schemas, as bounds. */
export const integerFormats: Readonly<Record<string, Pick<NumberRules, "integer"> & { min: bigint; max: bigint }>> =
  Object.fromEntries(
    [8n, 16n, 32n, 64n].flatMap((bits) => [
      [`int${bits}`, { integer: true, min: -(2n ** (bits - 1n)), max: 2n ** (bits - 1n) - 1n }],
      [`uint${bits}`, { integer: true, min: 0n, max: 2n ** bits - 1n }],
    ]),
  );
