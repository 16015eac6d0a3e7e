import { type DescMessage, fromBinary, type Message, type MessageShape } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";

/** Messages that are still as they came, with their bytes. */
const encoded = new WeakMap<Message, Uint8Array>();

/**
 * A message that nobody has decoded: written as Protobuf it is these bytes, as
 * they are, and none of its fields is set. What reads fields, or writes JSON,
 * takes {@link decodedMessage} of it first. The bytes are kept, not copied.
 *
 * Vectors cross the front this way: as numbers, a thousand of a thousand would
 * take it some 50 ms.
 */
export function encodedMessage<D extends DescMessage>(desc: D, bytes: Uint8Array): MessageShape<D> {
  // What isn't known is written as it is: all that comes after the first tag is taken for its value.
  const message = fromBinary(desc, bytes.subarray(0, 0)) as MessageShape<D> & Message;
  if (bytes.length > 0) {
    const reader = new BinaryReader(bytes);
    const [no, wireType] = reader.tag();
    message.$unknown = [{ no, wireType, data: bytes.subarray(reader.pos) }];
  }
  encoded.set(message, bytes);
  return message;
}

/** The bytes of a message of {@link encodedMessage}; undefined of any other. */
export function bytesOf(message: Message): Uint8Array | undefined {
  return encoded.get(message);
}

/** The message with its fields: itself, unless it is one of {@link encodedMessage}. Throws where the bytes are none. */
export function decodedMessage<D extends DescMessage>(desc: D, message: MessageShape<D>): MessageShape<D> {
  const bytes = bytesOf(message);
  return bytes === undefined ? message : fromBinary(desc, bytes);
}
