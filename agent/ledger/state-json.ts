import type { LeaseJson, StateJson } from './record.ts';
import type { KeptLease } from './replay-state.ts';
import { isOver, ReplayState } from './replay-state.ts';
import type { LedgerState, LiveLease } from './state.ts';

/** A state as a checkpoint has it, without what is over at `time`. */
export function stateToJson(state: LedgerState, time: number): StateJson {
  const current = <T extends { readonly expiresAt: number }>(map: ReadonlyMap<string, T>): T[] =>
    map
      .values()
      .filter((each) => !isOver(each, time))
      .toArray();
  const leaseToJson = (lease: LiveLease): LeaseJson => ({
    id: lease.id,
    decision: lease.decision,
    opened_at: timeText(lease.openedAt),
    boot_id: lease.bootId,
    instance: lease.instance,
    selectors: lease.selectors,
    entry: lease.entry,
    ...(lease.owner !== undefined && { owner: lease.owner }),
    spiffe_id: lease.spiffeId,
    certificates: current(lease.certificates).map(({ decision, expiresAt, issuer, serial }) => ({
      serial,
      issuer,
      expires_at: timeText(expiresAt),
      decision,
    })),
    tokens: current(lease.tokens).map(({ decision, expiresAt, jti }) => ({
      jti,
      expires_at: timeText(expiresAt),
      decision,
    })),
  });
  return {
    leases: state.leases.values().map(leaseToJson).toArray(),
    revoked_certificates: current(state.revokedCertificates).map(
      ({ expiresAt, issuer, reason, revokedAt, serial }) => ({
        serial,
        issuer,
        expires_at: timeText(expiresAt),
        revoked_at: timeText(revokedAt),
        reason,
      }),
    ),
    revoked_tokens: current(state.revokedTokens).map(({ decision, expiresAt, jti, reason }) => ({
      jti,
      expires_at: timeText(expiresAt),
      reason,
      ...(decision !== undefined && { decision }),
    })),
    barred: Array.from(state.barred, ([process, entries]) => ({ process, entries: [...entries] })),
    crl_numbers_reserved: state.crlNumbersReserved,
  };
}

/** The state of a checkpoint whose signature holds: its shape is what {@link stateToJson} wrote. */
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
  for (const { entries, process } of json.barred) state.barred.set(process, new Set(entries));
  state.reserveCrlNumbers(json.crl_numbers_reserved);
  return state;
}

function leaseFromJson(lease: LeaseJson): KeptLease {
  const { boot_id, certificates, decision, entry, id, instance, opened_at, owner, selectors, spiffe_id, tokens } =
    lease;
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
      certificates.map(({ expires_at, ...certificate }) => [
        certificate.serial,
        { ...certificate, expiresAt: Date.parse(expires_at) },
      ]),
    ),
    tokens: new Map(
      tokens.map(({ expires_at, ...token }) => [token.jti, { ...token, expiresAt: Date.parse(expires_at) }]),
    ),
  };
}

function timeText(time: number): string {
  return new Date(time).toISOString();
}
