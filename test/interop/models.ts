import { join } from "node:path";
import { usualScripts } from "../support/running-loqui.ts";
import { writeScriptedModel } from "../support/scripted-model.ts";

/** Writes the models that the clients talk to and returns their paths. */
export function writeInteropModels(folder: string): string[] {
  return Object.entries(usualScripts).map(([name, script]) => {
    const path = join(folder, `${name}.gguf`);
    writeScriptedModel(path, script);
    return path;
  });
}
