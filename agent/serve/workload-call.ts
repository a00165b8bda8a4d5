import type { Metadata } from '@grpc/grpc-js';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { SpiffeId } from '../kernel/spiffe-id.ts';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';
import type { Leases } from '../lease/leases.ts';
import type { Workload } from '../lease/workload.ts';
import type { ProcessInstance } from '../peer/instance.ts';
import type { Call } from './handlers.ts';

/** A caller of which it is known which process it is. */
export interface Identified {
  readonly instance: ProcessInstance;
}

/** The workload that calls. It is forgotten when a call of it ends, so one that is asked for has to be called. */
export function workloadOf(leases: Leases, call: Call<Identified>): Workload {
  requireSecurityHeader(call.metadata);
  return leases.of(call.caller.instance);
}

/**
 * What every call has to pass first: the header is what keeps a browser or a confused proxy from reaching the socket with a request
 * that it was tricked into (SPIFFE Workload Endpoint §5.2).
 */
export function requireSecurityHeader(metadata: Metadata): void {
  const values = metadata.get('workload.spiffe.io');
  if (values.length === 1 && values[0] === 'true') return;
  throw new MayflyError('SECURITY_HEADER_MISSING', 'the metadata is not exactly one workload.spiffe.io: true');
}

/** The one identity that a request is about; `undefined` for all. @throws MayflyError `INVALID_SPIFFE_ID` */
export function requestedId(text: string): SpiffeId | undefined {
  if (text === '') return undefined;
  try {
    return parseSpiffeId(text);
  } catch (error) {
    throw new MayflyError('INVALID_SPIFFE_ID', `invalid requested SPIFFE ID: ${messageOf(error)}`, { cause: error });
  }
}
