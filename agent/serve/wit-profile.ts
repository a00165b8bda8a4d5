import type { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import type { Leases } from '../lease/leases.ts';
import { changes } from './changes.ts';
import type { Handlers } from './handlers.ts';
import { witBundlesMessage, witDigest, witMessage } from './wit-message.ts';
import type { Identified } from './workload-call.ts';
import { requestedId, requireSecurityHeader, workloadOf } from './workload-call.ts';

type WitProfile = Pick<Handlers<typeof SpiffeWorkloadAPI, Identified>, 'fetchWITSVID' | 'fetchWITBundles'>;

/** The WIT-SVID profile of the SPIFFE Workload API (§7). */
export function witProfile(leases: Leases): WitProfile {
  return {
    async *fetchWITSVID(request, call) {
      const workload = workloadOf(leases, call);
      const spiffeId = requestedId(request.spiffeId);
      using subscriber = leases.deliveries.open(call.caller.instance, 'FetchWITSVID');
      const changed = changes();
      for await (const update of workload.wit(spiffeId, call.signal)) {
        // A key that is gone belongs to an update which another has already overtaken, or to a stream about to end.
        if (update.svids.some(({ svid }) => svid.privateKey.destroyed)) continue;
        if (!changed(witDigest(update))) continue;
        yield witMessage(update);
        const svids = update.svids.map(({ svid }) => svid);
        workload.delivered(svids);
        subscriber.tell({ svids: svids.map(({ jti }) => jti), lists: 0 });
      }
    },

    async *fetchWITBundles(_request, call) {
      const workload = workloadOf(leases, call);
      using subscriber = leases.deliveries.open(call.caller.instance, 'FetchWITBundles');
      const changed = changes();
      for await (const update of workload.bundles(call.signal)) {
        const message = witBundlesMessage(update);
        if (!changed(message)) continue;
        yield message;
        subscriber.tell({ svids: [], lists: 0 });
      }
    },
  };
}

/** The profile of an agent that does not have it: clients that are told so do not ask again (§7). */
export function noWitProfile(): WitProfile {
  return {
    // oxlint-disable-next-line require-yield -- it refuses; its kind is the service's
    async *fetchWITSVID(_request, call) {
      requireSecurityHeader(call.metadata);
      throw witOff();
    },

    // oxlint-disable-next-line require-yield -- it refuses; its kind is the service's
    async *fetchWITBundles(_request, call) {
      requireSecurityHeader(call.metadata);
      throw witOff();
    },
  };
}

export function witOff(): MayflyError {
  return new MayflyError('NOT_OFFERED', 'the WIT-SVID profile is switched off');
}
