import { Command } from 'commander';
import { readBuild } from '../kernel/build.ts';
import { invocationOf } from './invocation.ts';
import { fields } from './output.ts';
import type { Terminal } from './terminal.ts';

/** `mayfly version` */
export function versionCommand(terminal: Terminal): Command {
  return new Command('version')
    .description('Show the version of this program, and what it was made from.')
    .action((_options: unknown, command: Command) => {
      const { version, commit, date, form } = readBuild();
      const [node, platform] = [process.version, `${process.platform}-${process.arch}`];
      const { output } = invocationOf(command, terminal);
      output.result({ version, commit: commit ?? null, date: date ?? null, form, node, platform }, () => [
        `mayfly ${version}`,
        ...fields([
          ['commit', commit],
          ['date', date],
          ['form', form],
          ['node', node],
          ['platform', platform],
        ]),
      ]);
    });
}
