import { readFileSync } from "node:fs";

/**
 * ONNX Runtime's `session.x64quantprecision`. x86 processors without VNNI add
 * products of bytes in 16 bits, which overflow where the weights have a sign; "1"
 * makes the runtime avoid it, at half the speed, also where there is VNNI: the
 * runtime doesn't look. Where it can't be known here, "1".
 */
export function x64QuantPrecision(cpuInfo = readCpuInfo()): "0" | "1" {
  return /^flags\s*:.*\b(avx512_vnni|avx_vnni)\b/m.test(cpuInfo) ? "0" : "1";
}

/** What Linux says of its processors; elsewhere nothing. */
function readCpuInfo(): string {
  try {
    return readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    return "";
  }
}
