import { Command } from 'commander';
import { fetchJwtCommand } from './fetch-jwt.ts';
import { fetchWitCommand } from './fetch-wit.ts';
import { fetchX509Command } from './fetch-x509.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly fetch`: an identity for this very process. */
export function fetchCommand(terminal: Terminal): Command {
  return new Command('fetch')
    .description('Ask for an identity. It belongs to the process that asks, and ends with it.')
    .addCommand(fetchX509Command(terminal))
    .addCommand(fetchJwtCommand(terminal))
    .addCommand(fetchWitCommand(terminal));
}
