import type { DescEnum, DescFile, DescMessage, DescService, MessageInitShape } from '@bufbuild/protobuf';
import { toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import type {
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from '../gen/reflection_v1_pb.js';
import type { ServerReflection as ServerReflectionAlpha } from '../gen/reflection_v1alpha_pb.js';
import type { Handlers } from './handlers.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/** What reflection tells: the files of the services, by name and by every symbol in them. */
interface Index {
  readonly services: readonly string[];
  readonly byName: ReadonlyMap<string, DescFile>;
  readonly bySymbol: ReadonlyMap<string, DescFile>;
}

/** `grpc.reflection.v1`: tells the interface, which is public anyway. */
export function reflection(services: readonly DescService[]): Handlers<typeof ServerReflection, unknown> {
  const index = indexOf(services);
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(index, request.messageRequest),
        };
      }
    },
  };
}

/** `grpc.reflection.v1alpha`, which older tools ask for: its messages are the same but for the package's name. */
export function reflectionAlpha(services: readonly DescService[]): Handlers<typeof ServerReflectionAlpha, unknown> {
  return reflection(services) as unknown as Handlers<typeof ServerReflectionAlpha, unknown>;
}

function answer(index: Index, request: ServerReflectionRequest['messageRequest']): Answer {
  switch (request.case) {
    case 'listServices':
      return { case: 'listServicesResponse', value: { service: index.services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return filesOf(index.byName.get(request.value), request.value);
    case 'fileContainingSymbol':
      return filesOf(index.bySymbol.get(request.value), request.value);
    case 'fileContainingExtension':
    case 'allExtensionNumbersOfType':
      return failure(status.NOT_FOUND, 'there are no extensions');
    case undefined:
      return failure(status.INVALID_ARGUMENT, 'the request asks for nothing');
  }
}

/** A file with all that it imports, as the protocol asks. */
function filesOf(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return failure(status.NOT_FOUND, `${JSON.stringify(asked.slice(0, 200))} is not known here`);
  const files = [...withDependencies(file)];
  return {
    case: 'fileDescriptorResponse',
    value: { fileDescriptorProto: files.map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto)) },
  };
}

function withDependencies(file: DescFile, seen = new Set<DescFile>()): Set<DescFile> {
  seen.add(file);
  for (const dependency of file.dependencies) if (!seen.has(dependency)) withDependencies(dependency, seen);
  return seen;
}

function failure(errorCode: number, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}

function indexOf(services: readonly DescService[]): Index {
  const files = new Set(services.flatMap((service) => [...withDependencies(service.file)]));
  const bySymbol = new Map<string, DescFile>();
  for (const file of files) {
    for (const service of file.services) {
      bySymbol.set(service.typeName, file);
      for (const method of service.methods) bySymbol.set(`${service.typeName}.${method.name}`, file);
    }
    for (const type of [...file.messages.flatMap(withNested), ...file.enums]) bySymbol.set(type.typeName, file);
  }
  return {
    services: services.map((service) => service.typeName).toSorted(),
    byName: new Map([...files].map((file) => [`${file.name}.proto`, file])),
    bySymbol,
  };
}

function withNested(message: DescMessage): (DescMessage | DescEnum)[] {
  return [message, ...message.nestedMessages.flatMap(withNested), ...message.nestedEnums];
}
