import { canonicalJson } from './canonical-json.ts';
import type { LeaseJson, StateJson, TokenJson } from './record.ts';
import type { KeptLease } from './replay-state.ts';
import { isOver, ReplayState } from './replay-state.ts';
import type {
  LedgerState,
  LiveLease,
  OutstandingCertificate,
  OutstandingToken,
  RevokedCertificate,
  RevokedToken,
} from './state.ts';

const JOINED_AT_ONCE = 256;

/**
 * A state as a checkpoint has it, in canonical JSON, without what is over at `time`. It is written out by hand, member by member in
 * their order: tens of thousands of entries would keep a general writer, and the agent, for a quarter of a second.
 */
export function stateText(state: LedgerState, time: number): string {
  const current = <T extends { readonly expiresAt: number }>(map: ReadonlyMap<string, T>, text: (each: T) => string) =>
    listText(
      map.values().filter((each) => !isOver(each, time)),
      text,
    );
  const witsText = ({ wits }: LiveLease): string =>
    wits.values().every((each) => isOver(each, time)) ? '' : `,"wits":${current(wits, tokenText)}`;
  const leaseText = (lease: LiveLease): string =>
    `{"boot_id":${canonicalJson(lease.bootId)},"certificates":${current(lease.certificates, certificateText)}` +
    `,"decision":${canonicalJson(lease.decision)},"entry":${canonicalJson(lease.entry)},"id":${canonicalJson(lease.id)}` +
    `,"instance":${canonicalJson(lease.instance)},"opened_at":${timeText(lease.openedAt)}` +
    `${lease.owner === undefined ? '' : `,"owner":${canonicalJson(lease.owner)}`},"selectors":${canonicalJson(lease.selectors)}` +
    `,"spiffe_id":${canonicalJson(lease.spiffeId)},"tokens":${current(lease.tokens, tokenText)}${witsText(lease)}}`;
  const barred = Array.from(state.barred, ([process, entries]) => ({ process, entries: Object.fromEntries(entries) }));
  return (
    `{"barred":${canonicalJson(barred)},"crl_numbers_reserved":${state.crlNumbersReserved}` +
    `,"leases":${listText(state.leases.values(), leaseText)}` +
    `,"revoked_certificates":${current(state.revokedCertificates, revokedCertificateText)}` +
    `,"revoked_tokens":${current(state.revokedTokens, revokedTokenText)}}`
  );
}

function certificateText({ decision, expiresAt, issuedAt, issuer, serial }: OutstandingCertificate): string {
  return `{"decision":${canonicalJson(decision)},"expires_at":${timeText(expiresAt)},"issued_at":${timeText(issuedAt)},"issuer":${canonicalJson(issuer)},"serial":${canonicalJson(serial)}}`;
}

function tokenText({ decision, expiresAt, jti }: OutstandingToken): string {
  return `{"decision":${canonicalJson(decision)},"expires_at":${timeText(expiresAt)},"jti":${canonicalJson(jti)}}`;
}

function revokedCertificateText({ expiresAt, issuer, reason, revokedAt, serial }: RevokedCertificate): string {
  return `{"expires_at":${timeText(expiresAt)},"issuer":${canonicalJson(issuer)},"reason":"${reason}","revoked_at":${timeText(revokedAt)},"serial":${canonicalJson(serial)}}`;
}

function revokedTokenText({ decision, expiresAt, jti, reason }: RevokedToken): string {
  const from = decision === undefined ? '' : `"decision":${canonicalJson(decision)},`;
  return `{${from}"expires_at":${timeText(expiresAt)},"jti":${canonicalJson(jti)},"reason":"${reason}"}`;
}

/** Joined a few at a time: a string of a million pieces is what the garbage collector would spend its time on. */
function listText<T>(values: IteratorObject<T>, text: (each: T) => string): string {
  const joined: string[] = [];
  let pieces: string[] = [];
  for (const value of values) {
    pieces.push(text(value));
    if (pieces.length === JOINED_AT_ONCE) {
      joined.push(pieces.join(','));
      pieces = [];
    }
  }
  if (pieces.length > 0) joined.push(pieces.join(','));
  return `[${joined.join(',')}]`;
}

/** The state of a checkpoint whose signature holds: its shape is what {@link stateText} wrote. */
export function stateFromJson(json: StateJson): ReplayState {
  const state = new ReplayState();
  for (const lease of json.leases) state.restore(leaseFromJson(lease));
  for (const { expires_at, revoked_at, ...revoked } of json.revoked_certificates) {
    const times = { expiresAt: Date.parse(expires_at), revokedAt: Date.parse(revoked_at) };
    state.revokedCertificates.set(revoked.serial, { ...revoked, ...times });
  }
  for (const { expires_at, ...revoked } of json.revoked_tokens) {
    state.revokedTokens.set(revoked.jti, { ...revoked, expiresAt: Date.parse(expires_at) });
  }
  for (const { entries, process } of json.barred) state.barred.set(process, new Map(Object.entries(entries)));
  state.reserveCrlNumbers(json.crl_numbers_reserved);
  return state;
}

function leaseFromJson(lease: LeaseJson): KeptLease {
  const { boot_id, certificates, decision, entry, id, instance, opened_at, owner, selectors, spiffe_id } = lease;
  return {
    id,
    decision,
    openedAt: Date.parse(opened_at),
    bootId: boot_id,
    // Frozen, so that each checkpoint has them as they were written out once.
    instance: Object.freeze(instance),
    selectors: Object.freeze(selectors),
    entry,
    owner,
    spiffeId: spiffe_id,
    certificates: new Map(
      certificates.map(({ expires_at, issued_at, ...certificate }) => [
        certificate.serial,
        { ...certificate, expiresAt: Date.parse(expires_at), issuedAt: Date.parse(issued_at) },
      ]),
    ),
    tokens: tokensFromJson(lease.tokens),
    wits: tokensFromJson(lease.wits ?? []),
  };
}

function tokensFromJson(tokens: readonly TokenJson[]): Map<string, OutstandingToken> {
  return new Map(
    tokens.map(({ expires_at, ...token }) => [token.jti, { ...token, expiresAt: Date.parse(expires_at) }]),
  );
}

function timeText(time: number): string {
  return `"${new Date(time).toISOString()}"`;
}
