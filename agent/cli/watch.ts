import { Command } from 'commander';
import { MayflyError } from '../kernel/errors.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import type { KeepOptions } from './keep.ts';
import { keepX509 } from './keep.ts';
import { formatTime, formatUntil } from './moment.ts';
import { optionOf } from './program.ts';
import type { Terminal } from './terminal.ts';
import type { X509Context } from './x509-identity.ts';
import { serialOf } from './x509-identity.ts';
import { contextJson } from './x509-text.ts';

/** `mayfly watch` */
export function watchCommand(terminal: Terminal): Command {
  return new Command('watch')
    .description(
      "Hold an X.509-SVID and print a line at each update, until interrupted. Survives the agent's restarts. What --write has written is removed when the identity is withdrawn, and at the end.",
    )
    .option(
      '--write <dir>',
      'keep svid.pem, key.pem and bundle.pem of the first identity fresh in a directory, and the revocation lists in crl.pem',
    )
    .option(
      '--exec <command>',
      'run by /bin/sh after each update, with MAYFLY_SPIFFE_ID, MAYFLY_SERIAL, MAYFLY_NOT_AFTER and, with --write, MAYFLY_SVID_FILE, MAYFLY_KEY_FILE, MAYFLY_BUNDLE_FILE, MAYFLY_CRL_FILE; of lists alone at most twice a minute; at most a minute, during which the files stay as they are',
      optionOf(parseCommand),
    )
    .action(async (_options: unknown, command: Command) => {
      const invocation = invocationOf<KeepOptions>(command, terminal);
      await keepX509(invocation, true, (context, before) => reportUpdate(invocation, context, before));
    });
}

/** Often a variable that is not set, and the program would never be told. @throws MayflyError `INVALID_USAGE` */
function parseCommand(text: string): string {
  if (text.trim() === '')
    throw new MayflyError('INVALID_USAGE', 'it is empty; write a command, or leave the option out');
  return text;
}

/** One line for one update: what is held now, and what was not so before. */
export function reportUpdate(
  { output, terminal }: Invocation,
  context: X509Context,
  before: X509Context | undefined,
): void {
  const now = terminal.clock.now();
  const changed = before === undefined ? ['first update'] : changes(before, context);
  output.result({ at: new Date(now).toISOString(), changed, ...contextJson(context, now) }, () => {
    const [{ spiffeId, chain }, ...others] = context.identities;
    const id = others.length === 0 ? spiffeId : `${spiffeId} and ${others.length} more`;
    const until = `until ${formatUntil(chain[0].validToDate, now)}`;
    return [`${formatTime(new Date(now))}  ${id}  ${until}  serial ${serialOf(chain[0])}  ${changed.join(', ')}`];
  });
}

/** The parts of an update by which it can differ from the last. */
const PARTS: readonly { readonly name: string; readonly of: (context: X509Context) => readonly string[] }[] = [
  { name: 'new identities', of: ({ identities }) => identities.map(({ spiffeId, hint }) => `${spiffeId} ${hint}`) },
  { name: 'new certificate', of: ({ identities }) => identities.map(({ chain }) => chain.join('')) },
  { name: 'new bundle', of: ({ identities }) => identities.map(({ bundle }) => bundle.join('')) },
  {
    name: 'new federated bundles',
    of: ({ federated }) => [...federated].map(([id, roots]) => `${id} ${roots.join('')}`),
  },
  { name: 'new revocation list', of: ({ crls }) => crls.map((der) => der.toString('base64')) },
];

function changes(before: X509Context, after: X509Context): string[] {
  const differing = PARTS.filter(({ of }) => of(before).toSorted().join('\n') !== of(after).toSorted().join('\n'));
  return differing.length === 0 ? ['nothing new'] : differing.map(({ name }) => name);
}
