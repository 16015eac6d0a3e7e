import { expect, it } from "vitest";
import { x64QuantPrecision } from "../../../src/engines/onnx/precision.ts";

it.each([
  ["processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\nbugs\t\t: a\n", "0"],
  ["flags\t\t: fpu avx_vnni\n", "0"],
  ["flags\t\t: fpu avx2 avx512f\nbugs\t\t: avx512_vnni\n", "1"],
  ["", "1"],
] as const)("of %j", (cpuInfo, precision) => {
  expect(x64QuantPrecision(cpuInfo)).toBe(precision);
});
