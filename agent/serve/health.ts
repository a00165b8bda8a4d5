import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Health, HealthCheckResponseSchema } from '../gen/health_pb.js';
import { HealthCheckResponse_ServingStatus as ServingStatus } from '../gen/health_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Handlers } from './grpc.ts';

/** Whether the agent serves, and a sentence for each thing that is wrong, also where it serves on. */
export interface HealthState {
  readonly serving: boolean;
  readonly warnings: readonly string[];
}

type Answer = MessageInitShape<typeof HealthCheckResponseSchema>;

/**
 * `grpc.health.v1`: the empty name is the agent as a whole, and each service of the socket answers alike. Unlike the Workload API it
 * asks for no header: probes send none, and it tells nobody anything of identities.
 */
export function health(state: Latest<HealthState>, services: readonly string[]): Handlers<typeof Health, unknown> {
  const known = new Set(['', ...services]);
  const answer = (): Answer => ({
    status: state.value?.serving === true ? ServingStatus.SERVING : ServingStatus.NOT_SERVING,
  });
  return {
    check({ service }) {
      if (!known.has(service)) throw new MayflyError('NOT_FOUND', `unknown service ${JSON.stringify(service.slice(0, 100))}`);
      return answer();
    },

    list() {
      return { statuses: Object.fromEntries([...known].map((service) => [service, answer()])) };
    },

    async *watch({ service }, { signal }) {
      if (!known.has(service)) {
        // The protocol keeps such a stream open, since the service may come: here it never will.
        yield { status: ServingStatus.SERVICE_UNKNOWN };
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return;
      }
      let told: ServingStatus | undefined;
      for await (const { serving } of state.follow(signal)) {
        const status = serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
        if (status !== told) yield { status };
        told = status;
      }
    },
  };
}
