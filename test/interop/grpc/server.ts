/** Serves grpc.testing.TestService until SIGTERM; prints its address as the first line. */
import { serve } from "../serve.ts";
import { testService } from "./service.ts";

const server = await serve([testService]);
process.once("SIGTERM", () => server.close({ force: true }).then(() => process.exit(0)));
console.log(server.url);
