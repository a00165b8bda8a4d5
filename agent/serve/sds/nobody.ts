import { randomBytes } from 'node:crypto';
import type { TrustDomain } from '../../kernel/spiffe-id.ts';
import { parseTrustDomain } from '../../kernel/spiffe-id.ts';
import { generateSigningKey, keyIdOf } from '../../svid/signing-key.ts';
import type { TrustBundle } from '../../svid/trust-bundle.ts';
import { caName, newSerial, signCa } from '../../svid/x509.ts';

let root: Buffer | undefined;

/**
 * A bundle by which nobody is verified: its root's key was thrown away. A proxy keeps what it has of a trust domain until it is given
 * something else, whatever it is told, and takes no bundle that is empty; so this is how trust is withdrawn from it.
 */
export function bundleOfNobody(trustDomain: TrustDomain): TrustBundle {
  root ??= makeRoot();
  return { trustDomain, x509Authorities: [root], jwtAuthorities: [], witAuthorities: [], sequence: 0, refreshHint: 0 };
}

function makeRoot(): Buffer {
  const key = generateSigningKey('ec-p256');
  const keyId = keyIdOf(key.publicKey);
  const name = caName('root', keyId);
  const terms = {
    // RFC 2606 §2: a name that is nobody's.
    trustDomain: parseTrustDomain('nobody.invalid'),
    name,
    publicKey: key.publicKey,
    serial: newSerial(randomBytes),
    notBefore: Date.UTC(2000, 0, 1),
    notAfter: Date.UTC(2100, 0, 1),
    pathLength: 0,
    nameConstraint: false,
  };
  return signCa(terms, { name, key, keyId });
}
