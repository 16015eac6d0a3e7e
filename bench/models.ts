/**
 * Writes the random models that benchmarks load, where they are not there yet,
 * and prints their paths.
 *
 *   npm run bench -- models
 */
import { type RandomModel, randomModel, randomShapes } from "./models/random-models.ts";

for (const name of Object.keys(randomShapes)) console.log(randomModel(name as RandomModel));
