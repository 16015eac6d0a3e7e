import {
  createRegistry,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/**
 * The files that declare some services and everything that those import, to be
 * asked as `grpc.reflection` asks. Built from the descriptors in the generated
 * code: what is served is what is described.
 */
export interface DescriptorIndex {
  /** By its name, e.g. `loqui/v1/chat.proto`. */
  file(name: string): DescFile | undefined;
  /** The file that declares a service, method, message, field, oneof, enum, enum value or extension. */
  fileOfSymbol(fullName: string): DescFile | undefined;
  /** The file that declares the extension of a message type. */
  fileOfExtension(typeName: string, number: number): DescFile | undefined;
  /** The numbers of the known extensions of a message type, ascending; undefined if the type is unknown. */
  extensionNumbers(typeName: string): number[] | undefined;
  /** The file and, before it, all that it imports, directly or not. */
  closure(file: DescFile): DescFile[];
  /** A `google.protobuf.FileDescriptorProto`. */
  encode(file: DescFile): Uint8Array;
}

export function createDescriptorIndex(services: readonly DescService[]): DescriptorIndex {
  const roots = [...new Set(services.map((service) => service.file))];
  const files = new Map(roots.flatMap(closure).map((file) => [nameOf(file), file]));
  const symbols = new Map([...files.values()].flatMap((file) => symbolsOf(file).map((name) => [name, file] as const)));
  const registry = createRegistry(...files.values());
  const encoded = new Map<DescFile, Uint8Array>();

  return {
    file: (name) => files.get(name),
    fileOfSymbol: (fullName) => symbols.get(fullName),
    fileOfExtension(typeName, number) {
      const message = registry.getMessage(typeName);
      return message && registry.getExtensionFor(message, number)?.file;
    },
    extensionNumbers(typeName) {
      if (registry.getMessage(typeName) === undefined) return undefined;
      const extensions = [...registry].filter(
        (desc) => desc.kind === "extension" && desc.extendee.typeName === typeName,
      );
      return extensions.map((desc) => (desc.kind === "extension" ? desc.number : 0)).sort((a, b) => a - b);
    },
    closure,
    encode(file) {
      const bytes = encoded.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto);
      encoded.set(file, bytes);
      return bytes;
    },
  };
}

/** `DescFile.name` lacks the `.proto` that clients ask with. */
function nameOf(file: DescFile): string {
  return file.proto.name;
}

function closure(root: DescFile): DescFile[] {
  const found = new Set<DescFile>();
  const visit = (file: DescFile): void => {
    if (found.has(file)) return;
    for (const dependency of file.dependencies) visit(dependency);
    found.add(file);
  };
  visit(root);
  return [...found];
}

function symbolsOf(file: DescFile): string[] {
  return [
    ...file.services.flatMap((service) => [
      service.typeName,
      ...service.methods.map((method) => `${service.typeName}.${method.name}`),
    ]),
    ...file.messages.flatMap(symbolsOfMessage),
    ...file.enums.flatMap(symbolsOfEnum),
    ...file.extensions.map((extension) => extension.typeName),
  ];
}

function symbolsOfMessage(message: DescMessage): string[] {
  return [
    message.typeName,
    ...message.fields.map((field) => `${message.typeName}.${field.name}`),
    ...message.oneofs.map((oneof) => `${message.typeName}.${oneof.name}`),
    ...message.nestedMessages.flatMap(symbolsOfMessage),
    ...message.nestedEnums.flatMap(symbolsOfEnum),
    ...message.nestedExtensions.map((extension) => extension.typeName),
  ];
}

/** The values of an enum are declared in the scope around it (protobuf follows C++ there). */
function symbolsOfEnum(desc: DescEnum): string[] {
  const scope = desc.typeName.slice(0, -desc.name.length);
  return [desc.typeName, ...desc.values.map((value) => `${scope}${value.name}`)];
}
