import { describe, expect, it } from 'vitest';

/** A program that a suite runs: how, or why there is none. */
export type Equipment =
  | { readonly kind: 'ready'; readonly command: readonly [string, ...string[]] }
  /** This machine lacks a tool. */
  | { readonly kind: 'missing'; readonly reason: string }
  /** The tools are there, and building failed: that is never skipped. */
  | { readonly kind: 'broken'; readonly reason: string };

/** Tests that only root can run: they start processes of other users. */
export const ROOT: Equipment =
  process.getuid?.() === 0
    ? { kind: 'ready', command: ['true'] }
    : { kind: 'missing', reason: 'it starts processes of other users, which only root can' };

/**
 * A suite that runs where what it needs is there. Elsewhere it is skipped, by a name that says why; with `CI=true` a tool that is
 * missing is a failure, since nobody reads the names of skipped tests there. {@link ROOT} alone is not to be installed.
 */
export function equipped(name: string, needs: readonly Equipment[], suite: () => void): void {
  const lacking = needs.find((need) => need.kind !== 'ready');
  if (lacking === undefined) {
    describe(name, suite);
  } else if (lacking.kind === 'broken' || (process.env['CI'] === 'true' && lacking !== ROOT)) {
    describe(name, () => {
      it('has what it needs', () => expect.unreachable(lacking.reason));
    });
  } else {
    describe.skip(`${name} (skipped: ${lacking.reason})`, suite);
  }
}

/** @throws when it is not ready, which a suite in {@link equipped} never sees */
export function commandOf(equipment: Equipment): readonly [string, ...string[]] {
  if (equipment.kind !== 'ready') throw new Error(equipment.reason);
  return equipment.command;
}
