import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Health, HealthCheckResponseSchema } from '../gen/health_pb.js';
import { HealthCheckResponse_ServingStatus as ServingStatus } from '../gen/health_pb.js';
import type { Clock } from '../kernel/clock.ts';
import { MayflyError } from '../kernel/errors.ts';
import { sleep } from '../kernel/sleep.ts';
import type { Handlers } from './handlers.ts';

/** Whether each named part is well; the empty name is the agent as a whole. */
export type HealthState = ReadonlyMap<string, boolean>;

type Answer = MessageInitShape<typeof HealthCheckResponseSchema>;

const WATCH_MS = 1000;

/**
 * `grpc.health.v1`. Unlike the Workload API it asks for no header: probes send none, and it tells nobody anything of identities.
 *
 * @param read how things stand now; the names are always the same
 */
export function health(read: () => HealthState, clock: Clock): Handlers<typeof Health, unknown> {
  return {
    check({ service }) {
      const well = read().get(service);
      if (well === undefined)
        throw new MayflyError('NOT_FOUND', `unknown service ${JSON.stringify(service.slice(0, 100))}`);
      return answer(well);
    },

    list() {
      return { statuses: Object.fromEntries(Array.from(read(), ([service, well]) => [service, answer(well)])) };
    },

    async *watch({ service }, { signal }) {
      let told: boolean | undefined;
      if (!read().has(service)) {
        // The protocol keeps such a stream open, since the service may come.
        yield { status: ServingStatus.SERVICE_UNKNOWN };
      }
      while (!signal.aborted) {
        const well = read().get(service);
        if (well !== undefined && well !== told) yield answer(well);
        told = well;
        await sleep(WATCH_MS, clock, signal);
      }
    },
  };
}

function answer(well: boolean): Answer {
  return { status: well ? ServingStatus.SERVING : ServingStatus.NOT_SERVING };
}
