import { getEventListeners } from 'node:events';
import { create } from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../../agent/gen/health_pb.js';
import { health } from '../../../agent/serve/health.ts';
import type { ApiWorld } from '../../support/api-world.ts';
import { apiWorld } from '../../support/api-world.ts';
import { until } from '../../support/processes.ts';

const { check, list, watch } = Health.method;
// Probes send none.
const terms = { header: [] };

let world: ApiWorld;
beforeEach(async () => {
  world = await apiWorld([]);
});
afterEach(async () => {
  await world.close();
  expect(world.clock.alarms).toBe(0);
});

describe('health', () => {
  it('is told for the agent and for each part, without a security header and without attestation', async () => {
    world.state.set('entries', false);
    expect((await world.client.call(check, {}, terms)).status).toBe(Serving.SERVING);
    expect((await world.client.call(check, { service: 'entries' }, terms)).status).toBe(Serving.NOT_SERVING);
    const { statuses } = await world.client.call(list, {}, terms);
    expect(Object.entries(statuses).map(([name, { status }]) => [name, status])).toEqual([
      ['', Serving.SERVING],
      ['entries', Serving.NOT_SERVING],
    ]);
    expect(world.leases.workloads).toBe(0);
  });

  it('of an unknown part is not found, and its name is told short', async () => {
    expect(await world.client.told(check, { service: 'x'.repeat(1000) }, terms)).toEqual({
      code: 'NOT_FOUND',
      details: `unknown service "${'x'.repeat(100)}"`,
    });
  });

  it('is watched: told at once, and at each change', async () => {
    const stream = world.client.stream(watch, { service: 'entries' }, terms);
    expect((await stream.at(1)).status).toBe(Serving.SERVING);
    await world.clock.elapse(10_000);
    world.state.set('entries', false);
    await world.clock.elapse(1000);
    expect((await stream.at(2)).status).toBe(Serving.NOT_SERVING);
    world.state.set('entries', true);
    await world.clock.elapse(1000);
    expect((await stream.at(3)).status).toBe(Serving.SERVING);
    expect(stream.received).toHaveLength(3);
    stream.cancel();
    await until(() => world.server.calls === 0, 'the stream is over');
  });

  it('is watched for an unknown part until it comes', async () => {
    const stream = world.client.stream(watch, { service: 'later' }, terms);
    expect((await stream.at(1)).status).toBe(Serving.SERVICE_UNKNOWN);
    await world.clock.elapse(5000);
    world.state.set('later', true);
    await world.clock.elapse(1000);
    expect((await stream.at(2)).status).toBe(Serving.SERVING);
    expect(stream.received).toHaveLength(2);
    stream.cancel();
    await until(() => world.server.calls === 0, 'the stream is over');
  });

  it('keeps nothing on a stream’s signal while it waits', async () => {
    const stop = new AbortController();
    const call = { caller: undefined, metadata: new Metadata(), signal: stop.signal };
    const handlers = health(() => world.state, world.clock);
    const read = async () => {
      for await (const _ of handlers.watch(create(HealthCheckRequestSchema), call)) continue;
    };
    const reading = read();
    await world.clock.elapse(60_000);
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1);
    stop.abort();
    await reading;
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(0);
  });
});
