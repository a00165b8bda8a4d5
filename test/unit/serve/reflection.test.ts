import type { MessageInitShape } from '@bufbuild/protobuf';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServerReflection } from '../../../agent/gen/reflection_v1_pb.js';
import { ServerReflection as ServerReflectionAlpha } from '../../../agent/gen/reflection_v1alpha_pb.js';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld } from '../../support/api-world.ts';

let world: ApiWorld;
beforeAll(async () => {
  world = await apiWorld([]);
});
afterAll(() => world.close());

type Method = typeof ServerReflection.method.serverReflectionInfo;
type Asked = NonNullable<MessageInitShape<Method['input']>['messageRequest']>;

const methods = {
  v1: ServerReflection.method.serverReflectionInfo,
  // Its messages are the same but for the package's name.
  v1alpha: ServerReflectionAlpha.method.serverReflectionInfo as unknown as Method,
};

describe.each(['v1', 'v1alpha'] as const)('reflection %s', (version) => {
  async function ask(...requests: Asked[]) {
    const stream = world.client.duplex(methods[version]);
    for (const messageRequest of requests) stream.send({ host: 'h', messageRequest });
    stream.end();
    expect(await stream.ended).toEqual({ code: 'OK', details: 'OK' });
    return stream.received;
  }

  /** The names of the files of an answer. */
  async function files(asked: Asked): Promise<readonly string[]> {
    const [answer] = await ask(asked);
    if (answer?.messageResponse.case !== 'fileDescriptorResponse')
      throw new Error(`not found: ${JSON.stringify(asked)}`);
    const { fileDescriptorProto } = answer.messageResponse.value;
    return fileDescriptorProto.map((bytes: Uint8Array) => fromBinary(FileDescriptorProtoSchema, bytes).name);
  }

  it('lists the services of the socket', async () => {
    const [answer] = await ask({ case: 'listServices', value: '' });
    expect(answer).toMatchObject({
      validHost: 'h',
      originalRequest: { host: 'h', messageRequest: { case: 'listServices' } },
      messageResponse: {
        case: 'listServicesResponse',
        value: {
          service: [
            { name: 'SpiffeWorkloadAPI' },
            { name: 'envoy.service.secret.v3.SecretDiscoveryService' },
            { name: 'grpc.health.v1.Health' },
            { name: 'grpc.reflection.v1.ServerReflection' },
            { name: 'grpc.reflection.v1alpha.ServerReflection' },
            { name: 'mayfly.workload.v1.WorkloadExtension' },
          ],
        },
      },
    });
  });

  it.each([
    ['a service', 'SpiffeWorkloadAPI'],
    ['a method', 'SpiffeWorkloadAPI.FetchJWTSVID'],
    ['a message', 'X509SVIDResponse'],
  ])('finds the file of %s with what it imports', async (_what, symbol) => {
    expect(await files({ case: 'fileContainingSymbol', value: symbol })).toEqual([
      'workload.proto',
      'google/protobuf/struct.proto',
    ]);
  });

  it('finds the file of an enum inside a message, and a file by its name', async () => {
    const symbol = 'grpc.health.v1.HealthCheckResponse.ServingStatus';
    expect(await files({ case: 'fileContainingSymbol', value: symbol })).toEqual(['health.proto']);
    expect(await files({ case: 'fileByFilename', value: 'health.proto' })).toEqual(['health.proto']);
    expect(await files({ case: 'fileByFilename', value: 'google/protobuf/struct.proto' })).toHaveLength(1);
  });

  it('answers each request of one stream, in order; what is unknown is an answer and no end', async () => {
    const answers = await ask(
      { case: 'fileContainingSymbol', value: 'no.such.Thing' },
      { case: 'fileByFilename', value: `${'x'.repeat(300)}.proto` },
      { case: 'fileContainingExtension', value: { containingType: 'X', extensionNumber: 1 } },
      { case: 'allExtensionNumbersOfType', value: 'X' },
      { case: undefined },
      { case: 'listServices', value: '' },
    );
    expect(answers.map(({ messageResponse: { value } }) => value)).toMatchObject([
      { errorCode: 5, errorMessage: '"no.such.Thing" is not known here' },
      { errorCode: 5, errorMessage: `"${'x'.repeat(200)}" is not known here` },
      { errorCode: 5, errorMessage: 'there are no extensions' },
      { errorCode: 5, errorMessage: 'there are no extensions' },
      { errorCode: 3, errorMessage: 'the request asks for nothing' },
      { service: expect.any(Array) },
    ]);
  });
});
