import type { WorkloadExtension } from '../gen/workload_extension_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import type { Validation } from '../lease/validation.ts';
import { claimsMessage } from './claims.ts';
import type { Handlers } from './handlers.ts';
import { witOff } from './wit-profile.ts';
import type { Identified } from './workload-call.ts';
import { requireSecurityHeader } from './workload-call.ts';

/** What the standard's Workload API has no call for, under the same rules. */
export function workloadExtension(
  validation: Validation,
  profiles: { readonly wit: boolean },
): Handlers<typeof WorkloadExtension, Identified> {
  return {
    async validateWITSVID({ svid }, call) {
      requireSecurityHeader(call.metadata);
      if (!profiles.wit) throw witOff();
      if (svid === '') throw new MayflyError('SVID_MISSING', 'svid must be specified');
      const { claims, confirmation, id } = await validation.validateWit(call.caller.instance, svid);
      return { spiffeId: id, claims: claimsMessage(claims), confirmationKey: JSON.stringify(confirmation) };
    },
  };
}
