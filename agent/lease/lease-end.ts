import { CONTEXT_END_TEXTS } from '../attest/context.ts';
import { END_TEXTS } from '../peer/instance.ts';
import type { LeaseEnd } from './lease.ts';

/** Why a lease is over, such that "process 7 …" reads well. */
export function whyEnded(reason: LeaseEnd): string {
  return SENTENCES[reason];
}

const SENTENCES: Readonly<Record<LeaseEnd, string>> = {
  ...END_TEXTS,
  ...CONTEXT_END_TEXTS,
  'entry-removed': 'has an entry no more',
  'entry-changed': 'has an entry that means something else now',
  'selectors-changed': 'is no longer what its entry asks for',
  refused: 'is refused by the policy now',
  revoked: 'had its identity revoked',
  expired: 'let its identity expire',
  gone: 'had exited before the agent started',
  replaced: 'had exited before the agent started, and its number is another process now',
  rebooted: 'ended when the machine was started again',
  unverifiable: 'cannot be told to be what it was before the agent started',
  shutdown: 'is left to the next agent',
};

/** Every reason there is. */
export const LEASE_ENDS = Object.keys(SENTENCES) as readonly LeaseEnd[];
