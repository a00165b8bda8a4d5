import { status } from '@grpc/grpc-js';
import { describe, expect, it, test } from 'vitest';
import type { ErrorCode } from '../../../agent/kernel/errors.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { statusOf } from '../../../agent/serve/status.ts';

const OWN = 'its own words';
const INTERNAL = ['INTERNAL', 'internal error; the agent logged it'] as const;
const NO_IDENTITY = ['PERMISSION_DENIED', 'no identity issued'] as const;

/** What the client of each error is told. The record has to be whole: a new code does not compile without its row. */
const TOLD: Readonly<Record<ErrorCode, readonly [keyof typeof status, string]>> = {
  SECURITY_HEADER_MISSING: ['INVALID_ARGUMENT', 'security header missing from request'],
  AUDIENCE_MISSING: ['INVALID_ARGUMENT', 'audience must be specified'],
  SECRET_NOT_AUTHORIZED: ['INVALID_ARGUMENT', OWN],
  SVID_MISSING: ['INVALID_ARGUMENT', 'svid must be specified'],
  INVALID_SPIFFE_ID: ['INVALID_ARGUMENT', OWN],
  INVALID_TRUST_DOMAIN: ['INVALID_ARGUMENT', OWN],
  INVALID_SELECTOR: ['INVALID_ARGUMENT', OWN],
  INVALID_AUDIENCE: ['INVALID_ARGUMENT', OWN],
  INVALID_REQUEST: ['INVALID_ARGUMENT', OWN],
  TOKEN_INVALID: ['INVALID_ARGUMENT', OWN],
  NO_IDENTITY,
  POLICY_REFUSED: NO_IDENTITY,
  REISSUE_BARRED: NO_IDENTITY,
  CALLER_UNKNOWN: NO_IDENTITY,
  ATTESTATION_FAILED: ['UNAVAILABLE', 'workload attestation failed'],
  AUTHORITY_UNAVAILABLE: ['UNAVAILABLE', 'the authority cannot sign now'],
  OVER_LIMIT: ['RESOURCE_EXHAUSTED', OWN],
  OVERLOADED: ['UNAVAILABLE', OWN],
  SHUTTING_DOWN: ['UNAVAILABLE', 'the agent is stopping'],
  NOT_FOUND: ['NOT_FOUND', OWN],
  NOT_OFFERED: ['UNIMPLEMENTED', OWN],
  DISK_FULL: ['UNAVAILABLE', 'the agent has no room to record what it issues'],
  INVALID_DURATION: INTERNAL,
  INVALID_SIZE: INTERNAL,
  INVALID_CONFIG: INTERNAL,
  INVALID_BUNDLE: INTERNAL,
  INVALID_USAGE: INTERNAL,
  SOCKET_IN_USE: INTERNAL,
  SOCKET_UNSAFE: INTERNAL,
  DATA_DIR_LOCKED: INTERNAL,
  DATA_DIR_UNSAFE: INTERNAL,
  DATA_DIR_DAMAGED: INTERNAL,
  PERMISSION_MISSING: INTERNAL,
  KERNEL_UNSUPPORTED: INTERNAL,
  AGENT_UNREACHABLE: INTERNAL,
  INTERNAL,
};

describe('the status', () => {
  it.each(Object.entries(TOLD))('of %s is %j', (code, [name, details]) => {
    const error = new MayflyError(code as ErrorCode, OWN, { cause: new Error('underneath') });
    expect(statusOf(error)).toEqual({ code: status[name], details });
  });

  test.each([new TypeError(OWN), Object.assign(new Error(OWN), { code: 5, details: OWN }), OWN, undefined, null, 7])(
    'of what is no error of ours (%s) tells nothing of it',
    (thrown) => {
      expect(statusOf(thrown)).toEqual({ code: status.INTERNAL, details: INTERNAL[1] });
    },
  );
});
