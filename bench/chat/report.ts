import type { Side } from "./sides.ts";

export function line(side: Side, text: string): void {
  console.log(`  ${side.name.padEnd(22)} ${text}`);
}
