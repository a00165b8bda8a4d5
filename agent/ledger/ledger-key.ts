import type { KeyObject } from 'node:crypto';
import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, sign, verify } from 'node:crypto';
import { fileFailure } from '../kernel/private-files.ts';
import { replaceFile } from '../kernel/replaced-file.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Link } from './chain.ts';
import { damagedLedger, LEDGER_FILES, mustBeLedgerFile } from './ledger-directory.ts';
import type { LedgerJwk, SignedFields } from './record.ts';

/** The key that signs checkpoints, and nothing else: it vouches for a ledger whose beginning is no longer kept. */
export class LedgerKey {
  readonly jwk: LedgerJwk;
  readonly thumbprint: string;
  readonly #privateKey: KeyObject;

  private constructor(privateKey: KeyObject) {
    this.#privateKey = privateKey;
    this.jwk = ledgerJwkOf(createPublicKey(privateKey));
    this.thumbprint = ledgerThumbprint(this.jwk);
  }

  /**
   * @param path PKCS#8 in PEM, 0600
   * @param absence what a missing file means: a key is made at the very first start alone
   * @throws MayflyError `DATA_DIR_UNSAFE`, `DATA_DIR_DAMAGED`, `DISK_FULL`, `PERMISSION_MISSING`
   */
  static open(path: string, absence: 'first start' | 'damage'): LedgerKey {
    const pem = readKey(path);
    if (pem !== undefined) return new LedgerKey(privateKeyOf(path, pem));
    if (absence === 'damage') {
      // A new key beside old records would make every checkpoint before it one of a stranger.
      throw damagedLedger(path, 'is missing beside the ledger that it signed');
    }
    const { privateKey } = generateKeyPairSync('ed25519');
    writeKey(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return new LedgerKey(privateKey);
  }

  /** Signs a record at its place in the chain. */
  signed<T extends object>(fields: T, link: Link): T & SignedFields {
    const unsigned = { ...fields, key: this.thumbprint, jwk: this.jwk };
    const signature = sign(null, Buffer.from(canonicalJson({ ...unsigned, ...link })), this.#privateKey);
    return { ...unsigned, signature: signature.toString('base64url') };
  }
}

/** What is wrong with a record's signature: a sentence, or `undefined` when it holds. */
export function signatureProblem(record: SignedFields & object): string | undefined {
  const { _hash, signature, ...signed } = { _hash: undefined, ...record };
  try {
    if (ledgerThumbprint(record.jwk) !== record.key) return 'its key is not the one that it names';
    const publicKey = createPublicKey({ key: { ...record.jwk }, format: 'jwk' });
    const holds = verify(null, Buffer.from(canonicalJson(signed)), publicKey, Buffer.from(signature, 'base64url'));
    return holds ? undefined : 'its signature does not hold';
  } catch {
    return 'it has no signature that could be checked';
  }
}

function ledgerJwkOf(publicKey: KeyObject): LedgerJwk {
  const { kty, crv, x } = publicKey.export({ format: 'jwk' });
  if (kty !== 'OKP' || crv !== 'Ed25519' || x === undefined) throw new TypeError('not an Ed25519 key');
  return Object.freeze({ kty, crv, x });
}

/** RFC 8037 §2: the required members are `crv`, `kty` and `x`. */
function ledgerThumbprint({ crv, kty, x }: LedgerJwk): string {
  return hash('sha256', canonicalJson({ crv, kty, x }), 'base64url');
}

function privateKeyOf(path: string, pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    throw damagedLedger(path, 'holds no private key', error);
  }
  throw damagedLedger(path, 'holds no Ed25519 key');
}

function readKey(path: string): string | undefined {
  return LEDGER_FILES.read(path, (stat) => {
    mustBeLedgerFile(path, stat);
    if (stat.size > 4096) throw damagedLedger(path, 'is too large for a key');
  });
}

function writeKey(path: string, pem: string): void {
  try {
    replaceFile(path, pem, 0o600);
  } catch (error) {
    throw fileFailure('write', path, error);
  }
}
