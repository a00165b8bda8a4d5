import type { DrillRequest, RevokeRequest } from '../gen/admin_pb.js';
import { MayflyError } from '../kernel/errors.ts';
import type { RevocationOrder, RevocationTarget } from '../lease/operator.ts';
import { REVOCATION_REASONS } from '../svid/crl.ts';
import { parseSerial } from '../svid/serial.ts';

const MOST_REASON_LENGTH = 1000;

/**
 * What an operator means.
 *
 * @throws MayflyError `INVALID_REQUEST` where nothing is named
 */
export function revocationTarget({ target }: RevokeRequest): RevocationTarget {
  switch (target.case) {
    case 'serial':
      return { kind: 'serial', serial: parseSerial(target.value) };
    case 'jti':
      return { kind: 'jti', jti: target.value };
    case 'pid':
      return { kind: 'pid', pid: target.value };
    case 'spiffeId':
      return { kind: 'spiffe-id', spiffeId: target.value };
    case 'entryId':
      return { kind: 'entry', entryId: target.value };
    case 'place':
      return { kind: 'place', place: target.value };
    case 'all':
      if (target.value) return { kind: 'all' };
      throw nothingNamed();
    case undefined:
      throw nothingNamed();
  }
}

/**
 * How it is wanted.
 *
 * @throws MayflyError `INVALID_REQUEST` for a code that no list has, and for a reason that is missing or too long
 */
export function revocationOrder({ allowReissue, reason, reasonCode }: RevokeRequest): RevocationOrder {
  const code = reasonCode === '' ? 'keyCompromise' : REVOCATION_REASONS.find((each) => each === reasonCode);
  if (code === undefined) {
    throw new MayflyError('INVALID_REQUEST', `the reason code is none of ${REVOCATION_REASONS.join(', ')}`);
  }
  if (reason.trim() === '' || reason.length > MOST_REASON_LENGTH) {
    throw new MayflyError(
      'INVALID_REQUEST',
      `say why, in up to ${MOST_REASON_LENGTH} characters: the ledger keeps the reason`,
    );
  }
  return { reason, code, allowReissue };
}

/** @throws MayflyError `INVALID_REQUEST` where nothing is named */
export function drillTarget({ target }: DrillRequest): (lease: { pid: number; entryId: string }) => boolean {
  switch (target.case) {
    case 'pid':
      return ({ pid }) => pid === target.value;
    case 'entryId':
      return ({ entryId }) => entryId === target.value;
    case undefined:
      throw nothingNamed();
  }
}

/** Who is meant, for a sentence. */
export function drilledText({ target }: DrillRequest): string {
  return target.case === 'pid' ? `process ${target.value}` : `entry ${target.value ?? ''}`;
}

function nothingNamed(): MayflyError {
  return new MayflyError('INVALID_REQUEST', 'nothing is named that should be revoked or drilled');
}
