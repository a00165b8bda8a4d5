import { Command } from 'commander';
import { bundleExportCommand } from './bundle-export.ts';
import { bundleShowCommand } from './bundle-show.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly bundle`: the keys of trust domains. */
export function bundleCommand(terminal: Terminal): Command {
  return new Command('bundle')
    .description("Show whom this process may trust, or export the agent's own trust domain for others to trust.")
    .addCommand(bundleShowCommand(terminal))
    .addCommand(bundleExportCommand(terminal));
}
