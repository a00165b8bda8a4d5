import { randomBytes } from 'node:crypto';
import type { Alarm, Clock } from '../kernel/clock.ts';
import { MayflyError, messageOf } from '../kernel/errors.ts';
import type { Latest } from '../kernel/latest.ts';
import type { Log } from '../kernel/log.ts';
import type { Grant, JwtGrant, WitGrant, X509Grant } from '../policy/grant.ts';
import { assertGranted } from '../policy/grant.ts';
import type { ConfirmationKey } from '../svid/jwk.ts';
import { JwtSigner } from '../svid/jwt-signer.ts';
import type { TrustBundle } from '../svid/trust-bundle.ts';
import { WitSigner } from '../svid/wit-signer.ts';
import { LeafSigner, newSerial } from '../svid/x509.ts';
import type { Authority, AuthorityKeyStatus, CrlCoverage, IssuedToken, IssuedX509 } from './authority.ts';
import type { Generation } from './generations.ts';
import { isValid, wholeSeconds } from './generations.ts';
import type { Keys } from './key-file.ts';
import { formatKeys, parseKeys } from './key-file.ts';
import { damaged, KeyStore } from './key-store.ts';
import type { IssuingKey, RootKey, TokenKey } from './keys.ts';
import { Publication } from './publication.ts';
import type { KeyPolicy, Rotated } from './rotation.ts';
import { rotate } from './rotation.ts';

/** What a local authority is made from. */
export interface LocalAuthorityOptions extends KeyPolicy {
  /** Holds `authority/keys.json`; locked by the caller, so that no second agent rotates the same keys. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Where serials and token ids come from; the system's generator unless a test says otherwise. */
  readonly random?: (bytes: number) => Buffer;
}

const NAMES = { issuing: 'issuing CA', jwt: 'JWT key', wit: 'WIT key' } as const;
/** What signs which kind. */
const SIGNS = { x509: 'issuing', jwt: 'jwt', wit: 'wit' } as const satisfies Record<Grant['kind'], keyof typeof NAMES>;

/** What signs at present, and until when. */
interface Signers {
  readonly root: RootKey;
  readonly issuing: IssuingKey;
  readonly leaf: LeafSigner;
  readonly jwt: TokenKey;
  readonly jwtSigner: JwtSigner;
  /** `undefined` where no WIT-SVIDs are issued. */
  readonly wit: TokenKey | undefined;
  readonly witSigner: WitSigner | undefined;
}

// Leaves are valid from ten seconds before they were issued, as SPIRE has it, for verifiers whose clocks are a little behind.
const LEAF_BACK_DATE_MS = 10_000;
const RETRY_MS = 5000;

/**
 * Signs with keys of its own: a root, issuing CAs under it (path length 0), JWT keys and WIT keys, all kept in `data_dir` and rotated by
 * the clock. While it runs, certificates of up to `min(caTtl / 2, rootTtl / 3)`, less the ten seconds that the first issuing CA of a new
 * root is listed before it signs, JWT-SVIDs of up to `jwtKeyTtl / 3` and WIT-SVIDs of up to `witKeyTtl / 3` always fit. After a start
 * that was due for a new issuing CA certificates are shorter for as long.
 *
 * Signing is synchronous behind the asynchronous interface: a signature takes less than the way to another thread.
 */
export class LocalAuthority implements Authority {
  readonly #options: LocalAuthorityOptions;
  readonly #random: (bytes: number) => Buffer;
  readonly #store: KeyStore;
  readonly #publication: Publication;
  #keys: Keys;
  #signers: Signers;
  #lookAgainAt = Number.NEGATIVE_INFINITY;
  #failure: { readonly error: unknown; readonly retryAt: number } | undefined;
  #alarms: Alarm[] = [];
  #closed = false;

  /**
   * Opens the authority in `data_dir`, at the very first start with new keys.
   *
   * @throws MayflyError `DATA_DIR_UNSAFE`, `DATA_DIR_DAMAGED`, `DISK_FULL`, `PERMISSION_MISSING`; what is on disk is as it was
   */
  static open(options: LocalAuthorityOptions): LocalAuthority {
    return new LocalAuthority(options);
  }

  private constructor(options: LocalAuthorityOptions) {
    this.#options = options;
    this.#random = options.random ?? randomBytes;
    this.#store = new KeyStore(options.dataDir);
    this.#publication = new Publication(options);
    const read = this.#read();
    this.#keys = read ?? { sequence: 0, roots: [], issuing: [], jwt: [], wit: [] };
    const rotated = this.#rotate();
    this.#signers = signersOf(rotated, undefined);
    this.#take(rotated, read === undefined ? 'made' : 'opened');
  }

  get bundle(): Latest<TrustBundle> {
    return this.#publication.bundle;
  }

  get crls(): Latest<CrlCoverage> {
    return this.#publication.crls;
  }

  /** @throws MayflyError `AUTHORITY_UNAVAILABLE` when nothing can be signed now */
  signerExpiresAt(kind: Grant['kind']): number {
    return this.#valid(SIGNS[kind]).notAfter;
  }

  // oxlint-disable-next-line require-await -- other authorities sign elsewhere
  async issueX509(grant: X509Grant, publicKey: Buffer): Promise<IssuedX509> {
    assertGranted(grant);
    const ca = this.#valid('issuing');
    const notAfter = this.#fits(grant.expiresAt, ca);
    const notBefore = Math.max(wholeSeconds(grant.issuedAt - LEAF_BACK_DATE_MS), ca.notBefore);
    const serial = newSerial(this.#random);
    const { spiffeId: id, dnsNames } = grant.entry;
    const leaf = this.#signers.leaf.sign({ id, dnsNames, publicKey, serial, notBefore, notAfter });
    return { chain: [leaf, ca.certificate], serial: serial.toString('hex'), issuer: ca.id, notBefore, notAfter };
  }

  // oxlint-disable-next-line require-await -- other authorities sign elsewhere
  async issueJwt(grant: JwtGrant): Promise<IssuedToken> {
    const terms = this.#tokenTerms(grant);
    const token = this.#signers.jwtSigner.sign({ ...terms, id: grant.entry.spiffeId, audiences: grant.audiences });
    return { token, ...terms };
  }

  // oxlint-disable-next-line require-await -- other authorities sign elsewhere
  async issueWit(grant: WitGrant, confirmation: ConfirmationKey): Promise<IssuedToken> {
    const terms = this.#tokenTerms(grant);
    const token = this.#signers.witSigner?.sign({ ...terms, id: grant.entry.spiffeId, confirmation });
    if (token === undefined) throw noWitKeys();
    return { token, ...terms };
  }

  status(): { readonly type: string; readonly keys: readonly AuthorityKeyStatus[] } {
    const { roots, issuing, jwt, wit } = this.#keys;
    return {
      type: 'local',
      keys: [
        ...statusOf('root', roots, this.#signers.root),
        ...statusOf('issuing-ca', issuing, this.#signers.issuing),
        ...statusOf('jwt', jwt, this.#signers.jwt),
        ...statusOf('wit', wit, this.#signers.wit),
      ],
    };
  }

  // oxlint-disable-next-line require-await -- other authorities close connections
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelAlarms();
  }

  /** What is said of every token of a grant: its id, and for how long it is valid. */
  #tokenTerms(grant: JwtGrant | WitGrant) {
    assertGranted(grant);
    const key = this.#valid(SIGNS[grant.kind]);
    const expiresAt = this.#fits(grant.expiresAt, key);
    const issuedAt = wholeSeconds(grant.issuedAt);
    // Hexadecimal, since a jti is also typed on command lines, where base64url could start with a dash.
    const jti = this.#random(16).toString('hex');
    return { issuedAt, expiresAt, jti };
  }

  /** The key that signs now, after a look at the clock: it may have been stepped, or the machine may have slept for days. */
  #valid<Use extends keyof typeof NAMES>(use: Use): NonNullable<Signers[Use]> {
    const { clock } = this.#options;
    const now = clock.now();
    const { issuing, jwt, wit } = this.#signers;
    const valid = [issuing, jwt, wit].every((key) => key === undefined || isValid(key, now));
    if (now >= this.#lookAgainAt || !valid) this.#look();
    const key = this.#signers[use];
    if (key === undefined) throw noWitKeys();
    if (isValid(key, now)) return key;
    const cause = this.#failure?.error;
    const reason = cause === undefined ? 'it was closed' : messageOf(cause);
    throw new MayflyError('AUTHORITY_UNAVAILABLE', `the authority has no valid ${NAMES[use]}: ${reason}`, { cause });
  }

  /** A decision is signed as it was made or not at all: between it and here the clock or the key may have changed. */
  #fits(expiresAt: number, key: Generation): number {
    const seconds = wholeSeconds(expiresAt);
    if (seconds > key.notAfter || seconds <= this.#options.clock.now()) {
      throw new MayflyError('AUTHORITY_UNAVAILABLE', 'the key or the clock has changed since the decision; ask again');
    }
    return seconds;
  }

  /** Brings the keys in order, and keeps what there was when that fails: it is tried again soon. */
  #look(): void {
    const { clock, log } = this.#options;
    if (this.#closed || (this.#failure !== undefined && clock.monotonic() < this.#failure.retryAt)) return;
    try {
      this.#take(this.#rotate(), 'rotated');
    } catch (error) {
      this.#failure = { error, retryAt: clock.monotonic() + RETRY_MS };
      log.error('authority.rotation_failed', `the authority's keys could not be rotated: ${messageOf(error)}`, {
        error: error instanceof Error ? error : undefined,
      });
      this.#cancelAlarms();
      this.#alarms = [clock.after(RETRY_MS, () => this.#look())];
    }
  }

  #read(): Keys | undefined {
    const text = this.#store.read();
    if (text === undefined) return undefined;
    try {
      return parseKeys(this.#options.trustDomain, text);
    } catch (cause) {
      const remedy = 'nothing was changed: restore it from a backup, or move it away to start with new keys';
      throw damaged(this.#store.path, `${messageOf(cause)}; ${remedy}`, cause);
    }
  }

  /** What should be, on disk before anybody sees it. */
  #rotate(): Rotated {
    const { clock, trustDomain } = this.#options;
    const rotated = rotate(this.#keys, this.#options, {
      now: clock.now(),
      known: (id) => this.#publication.isKnown(id),
      random: this.#random,
    });
    if (rotated.keys !== this.#keys) this.#store.write(formatKeys(trustDomain, rotated.keys));
    return rotated;
  }

  /** Builds the signers, publishes, and sets the next look. */
  #take(rotated: Rotated, how: 'made' | 'opened' | 'rotated'): void {
    const { clock, log } = this.#options;
    const { keys, issuing, jwt, wit, lookAgainAt, awaitsPublication } = rotated;
    const changed = keys !== this.#keys;
    this.#keys = keys;
    this.#signers = signersOf(rotated, this.#signers);
    this.#lookAgainAt = lookAgainAt;
    this.#failure = undefined;
    this.#publication.publish(keys);
    this.#cancelAlarms();
    this.#alarms = [clock.at(lookAgainAt, () => this.#look())];
    const { untilNextKnown } = this.#publication;
    if (awaitsPublication && Number.isFinite(untilNextKnown)) {
      this.#alarms.push(clock.after(untilNextKnown, () => this.#look()));
    }
    if (!changed && how === 'rotated') return;
    log.info(`authority.${how}`, `the authority's keys were ${how}`, {
      sequence: keys.sequence,
      roots: keys.roots.map(({ id }) => id),
      issuing_ca: issuing.id,
      jwt_key: jwt.id,
      ...(wit !== undefined && { wit_key: wit.id }),
      look_again_at: new Date(lookAgainAt).toISOString(),
    });
  }

  #cancelAlarms(): void {
    for (const alarm of this.#alarms) alarm.cancel();
    this.#alarms = [];
  }
}

function signersOf({ root, issuing, jwt, wit }: Rotated, before: Signers | undefined): Signers {
  const witSigner = before?.wit === wit ? before?.witSigner : undefined;
  return {
    root,
    issuing,
    leaf: before?.issuing === issuing ? before.leaf : new LeafSigner(issuing.issuer),
    jwt,
    jwtSigner: before?.jwt === jwt ? before.jwtSigner : new JwtSigner(jwt.key, jwt.id),
    wit,
    witSigner: wit === undefined ? undefined : (witSigner ?? new WitSigner(wit.key, wit.id)),
  };
}

function noWitKeys(): MayflyError {
  return new MayflyError('AUTHORITY_UNAVAILABLE', 'the authority has no WIT key: wit.enabled is false');
}

function statusOf(
  use: AuthorityKeyStatus['use'],
  line: readonly Generation[],
  active: Generation | undefined,
): AuthorityKeyStatus[] {
  return line.map((generation) => ({
    use,
    id: generation.id,
    state: generation === active ? 'active' : generation.activated ? 'retired' : 'prepared',
    notAfter: generation.notAfter,
  }));
}
