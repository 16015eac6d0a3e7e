/**
 * Makes `gen/codec_test_pb.ts` of `proto/codec_test.proto`. The test schema is
 * no part of the public one: it gets a workspace of its own for the moment.
 *
 *     npx node test/codec/generate.ts
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const workspace = mkdtempSync(join(tmpdir(), "loqui-codec-test-"));
const output = "test/codec/gen/codec_test_pb.ts";
try {
  cpSync("proto", join(workspace, "proto"), { recursive: true });
  cpSync("test/codec/proto", join(workspace, "test"), { recursive: true });
  writeFileSync(
    join(workspace, "buf.yaml"),
    "version: v2\nmodules: [{path: proto, excludes: [proto/third_party]}, {path: proto/third_party}, {path: test}]\n",
  );
  const template = "test/codec/buf.gen.yaml";
  execFileSync("npx", ["buf", "generate", join(workspace, "test"), "--template", template], { stdio: "inherit" });
} finally {
  rmSync(workspace, { recursive: true });
}
const ignore = ["lint", "format", "assist"].map((what) => `// biome-ignore-all ${what}: generated\n`).join("");
writeFileSync(output, ignore + readFileSync(output, "utf8"));
