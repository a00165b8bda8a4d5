import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { Agent, entry, TRUST_DOMAIN } from './agent.ts';
import { Client } from './client.ts';
import { equipped } from './equipment.ts';

const { go } = inject('equipment');
const WORKLOAD_API = 'SpiffeWorkloadAPI';

equipped('gRPC tools', [go], () => {
  let agent: Agent;
  let client: Client;
  beforeAll(async () => {
    agent = await Agent.start([entry('first')]);
    client = Client.start(go, agent.socket);
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await agent[Symbol.asyncDispose]();
  });

  it('list the services by reflection', async () => {
    expect(await client.ask('services')).toEqual([
      WORKLOAD_API,
      'envoy.service.secret.v3.SecretDiscoveryService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
      'mayfly.workload.v1.WorkloadExtension',
    ]);
  });

  it('resolve the Workload API from its descriptors alone', async () => {
    expect(await client.ask('describe', { service: WORKLOAD_API })).toEqual(
      expect.arrayContaining([
        'FetchX509SVID',
        'FetchX509Bundles',
        'FetchJWTSVID',
        'FetchJWTBundles',
        'ValidateJWTSVID',
      ]),
    );
    await expect(client.ask('describe', { service: 'no.such.Service' })).rejects.toThrow(/^5: "no\.such\.Service"/);
  });

  it('ask for health', async () => {
    expect(await client.ask('health', { service: '' })).toBe('SERVING');
    await expect(client.ask('health', { service: 'no.such.Service' })).rejects.toThrow('NotFound');
  });

  // HTTP/2 in Node resets a stream whose :authority holds any of / | @ or is empty.
  const authorities = {
    'java-spiffe, the path': () => agent.socket,
    'py-spiffe, the path percent-encoded': () => encodeURIComponent(agent.socket.slice(1)),
    'Envoy, a cluster': () => 'outbound|80||x',
    'a user and a port': () => 'user@localhost:80',
    'go-spiffe, a host': () => 'localhost',
  };
  for (const [name, authority] of Object.entries(authorities)) {
    it(`are served under the :authority of ${name}`, async () => {
      const id = `spiffe://${TRUST_DOMAIN}/first`;
      expect(await client.ask('authority', { authority: authority() })).toEqual([id, id]);
    });
  }
});
