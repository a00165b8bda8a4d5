import type { IssueRequest, JwtGrant, Refusal, X509Grant } from './grant.ts';

/**
 * Decides every issuance, renewals too: selectors have said who the process is, this says whether it gets this identity, for these
 * audiences, now, and until when.
 *
 * Error contract: a refusal is a value. It throws only when it cannot decide (an engine that is down); nothing is issued then, what
 * was issued before stays until it expires, and the caller gets UNAVAILABLE.
 */
export interface Policy {
  decide(request: IssueRequest & { kind: 'x509' }): Promise<X509Grant | Refusal>;
  decide(request: IssueRequest & { kind: 'jwt' }): Promise<JwtGrant | Refusal>;
}
