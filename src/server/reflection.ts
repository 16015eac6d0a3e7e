import { create, type DescFile, type DescService } from "@bufbuild/protobuf";
import {
  type ServerReflectionRequest,
  ServerReflectionResponseSchema,
  ServerReflection as V1,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflectionResponseSchema as AlphaResponseSchema,
  ServerReflection as V1Alpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { grpcCode } from "../errors.ts";
import { implement, type ServiceImplementation } from "../services/handlers.ts";
import { createDescriptorIndex, type DescriptorIndex } from "./descriptor-index.ts";

/**
 * Server reflection, v1 and the v1alpha that older tools ask for: how
 * grpcurl, buf curl and Postman learn the schema from the running server.
 * Describes the given services and itself. The index is built by the first
 * call; until then this costs nothing.
 */
export function createReflection(services: readonly DescService[]): ServiceImplementation[] {
  const all = [...services, V1, V1Alpha];
  let index: DescriptorIndex | undefined;
  const answers = () => {
    index ??= createDescriptorIndex(all);
    return createAnswers(all, index);
  };

  return [
    implement(V1, {
      async *serverReflectionInfo(requests) {
        const answer = answers();
        for await (const request of requests) {
          yield create(ServerReflectionResponseSchema, {
            validHost: request.host,
            originalRequest: request,
            messageResponse: answer(request.messageRequest),
          });
        }
      },
    }),
    implement(V1Alpha, {
      async *serverReflectionInfo(requests) {
        const answer = answers();
        for await (const request of requests) {
          yield create(AlphaResponseSchema, {
            validHost: request.host,
            originalRequest: request,
            // The two versions differ in nothing but the package.
            messageResponse: answer(request.messageRequest as ServerReflectionRequest["messageRequest"]),
          });
        }
      },
    }),
  ];
}

type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/** Answers the requests of one stream: a file is sent once, but for the one asked for. */
function createAnswers(services: readonly DescService[], index: DescriptorIndex) {
  const sent = new Set<DescFile>();

  function files(file: DescFile | undefined, what: string): Answer {
    if (file === undefined) return failure(grpcCode.notFound, `${what} not found`);
    const fresh = index.closure(file).filter((each) => each === file || !sent.has(each));
    for (const each of fresh) sent.add(each);
    // The file that was asked for comes first: some clients take only that one.
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto: fresh.reverse().map(index.encode) } };
  }

  return (request: ServerReflectionRequest["messageRequest"]): Answer => {
    switch (request.case) {
      case "listServices": {
        const names = services.map((service) => ({ name: service.typeName }));
        return { case: "listServicesResponse", value: { service: names } };
      }
      case "fileByFilename":
        return files(index.file(request.value), `file ${request.value}`);
      case "fileContainingSymbol":
        return files(index.fileOfSymbol(request.value), `symbol ${request.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = request.value;
        const what = `extension ${extensionNumber} of ${containingType}`;
        return files(index.fileOfExtension(containingType, extensionNumber), what);
      }
      case "allExtensionNumbersOfType": {
        const extensionNumber = index.extensionNumbers(request.value);
        if (extensionNumber === undefined) return failure(grpcCode.notFound, `type ${request.value} not found`);
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: request.value, extensionNumber } };
      }
      case undefined:
        return failure(grpcCode.invalidArgument, "the request asks for nothing");
      default:
        return request satisfies never;
    }
  };
}

function failure(errorCode: number, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
