import type { GrantOf, IssueRequest, Refusal } from './grant.ts';

/**
 * Decides every issuance, renewals too: selectors have said who the process is, this says whether it gets this identity, for these
 * audiences, now, and until when.
 *
 * Error contract: a refusal is a value. It throws only when it cannot decide (an engine that is down); nothing is issued then, what
 * was issued before stays until it expires, and the caller gets UNAVAILABLE.
 */
export interface Policy {
  decide<R extends IssueRequest>(request: R): Promise<GrantOf<R> | Refusal>;
}
