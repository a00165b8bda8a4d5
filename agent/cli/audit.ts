import { Command } from 'commander';
import { auditExportCommand } from './audit-export.ts';
import { auditHeadCommand, auditTailCommand } from './audit-tail.ts';
import { auditTraceCommand } from './audit-trace.ts';
import { auditVerifyCommand } from './audit-verify.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly audit`: the ledger, read from its files, so that it needs no agent. */
export function auditCommand(terminal: Terminal): Command {
  return new Command('audit')
    .description(
      "Verify the ledger, and read what was decided. Its files are read, for which the agent's user (or root) has the right; no agent has to run.",
    )
    .addCommand(auditVerifyCommand(terminal))
    .addCommand(auditTraceCommand(terminal))
    .addCommand(auditTailCommand(terminal))
    .addCommand(auditHeadCommand(terminal))
    .addCommand(auditExportCommand(terminal));
}
