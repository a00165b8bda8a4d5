import type { DescMessage, DescMethod, MessageInitShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';

/** Encodes a message's shape, and passes on what is encoded already. */
export type Encode = (message: Uint8Array | object) => Buffer;

export function encoderOf(schema: DescMessage): Encode {
  return (message) => {
    if (Buffer.isBuffer(message)) return message;
    const bytes =
      message instanceof Uint8Array
        ? message
        : toBinary(schema, create(schema, message as MessageInitShape<DescMessage>));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

/**
 * A method as grpc-js wants it. Answers are encoded before they are handed over: one that cannot be encoded is then a failure of
 * its call like any other, counted and logged.
 *
 * @param asStream has a single answer handled as a stream of one
 */
export function methodDefinition(method: DescMethod, asStream = false): MethodDefinition<unknown, unknown> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: asStream || method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: encoderOf(method.input) as (message: unknown) => Buffer,
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => message as Buffer,
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}
