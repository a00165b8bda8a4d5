import type { TestOptions } from 'vitest';

/** The tables of docs/compatibility.md. A column is what a test shows of a consumer; a new group or column is a line here. */
export const GROUPS = {
  libraries: {
    title: 'Client libraries',
    columns: {
      x509: 'X.509-SVIDs',
      jwt: 'JWT-SVIDs',
      wit: 'WIT-SVIDs',
      bundles: 'Bundles',
      updates: 'Updates',
      rotation: 'Rotation',
      withdrawal: 'Entry withdrawn',
      restart: 'Agent back after a restart',
      stopped: 'Agent stopped',
      late: 'Starts before the agent',
      server: 'mTLS server',
      client: 'mTLS client',
      connected: 'mTLS across a rotation',
    },
  },
  programs: {
    title: 'Programs that read files',
    columns: {
      chain: 'Chain and profile',
      handshake: 'mTLS',
      rotation: 'Rotation',
      withdrawal: 'Entry withdrawn',
      restart: 'Agent back after a restart',
      stopped: 'Agent stopped',
      revocation: 'Revocation lists',
    },
  },
  proxies: {
    title: 'Proxies',
    columns: {
      sds: 'SDS',
      mtls: 'mTLS',
      access: 'Access by SPIFFE ID',
      rotation: 'Rotation under load',
      withdrawal: 'Entry withdrawn',
      late: 'Starts before its entry',
      restart: 'Agent back after a restart',
      stopped: 'Agent stopped',
      revocation: 'Refuses the certificate of a process that has ended',
      federation: 'Two trust domains',
    },
  },
} as const satisfies Record<string, { readonly title: string; readonly columns: Readonly<Record<string, string>> }>;

export type Group = keyof typeof GROUPS;

/** What is tried against the agent: a row. */
export interface Consumer<G extends Group = Group> {
  readonly group: G;
  readonly name: string;
  /** Read from what pins it, never typed. */
  readonly version: string;
}

/** What a test shows when it passes: what stands in a column, how long something takes, or a quirk that it asserts. */
export type Evidence = { readonly consumer: Consumer } & (
  | { readonly kind: 'cell'; readonly column: string; readonly says: string }
  | { readonly kind: 'duration'; readonly column: string }
  | { readonly kind: 'quirk'; readonly text: string }
);

declare module 'vitest' {
  interface TaskMeta {
    evidence?: readonly Evidence[];
    /** What a test of a {@link duration} has measured. */
    tookMs?: number;
  }
}

/** Options of a test that shows something. */
export function evidence(...shown: readonly Evidence[]): TestOptions {
  return { meta: { evidence: shown } };
}

/** @param says the words of the cell, where the consumers differ */
export function cell<G extends Group>(
  consumer: Consumer<G>,
  column: keyof (typeof GROUPS)[G]['columns'] & string,
  says = 'yes',
): Evidence {
  return { consumer, kind: 'cell', column, says };
}

/** A cell that says how long it takes: the test measures it, and sets `task.meta.tookMs`. */
export function duration<G extends Group>(
  consumer: Consumer<G>,
  column: keyof (typeof GROUPS)[G]['columns'] & string,
): Evidence {
  return { consumer, kind: 'duration', column };
}

/** @param text one sentence for a user of this consumer */
export function quirk(consumer: Consumer, text: string): Evidence {
  return { consumer, kind: 'quirk', text };
}
