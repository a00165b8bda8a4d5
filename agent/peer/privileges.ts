import { readText, statusField } from './system/proc.ts';

/** Something that the agent may not do, and what of its work is left undone. */
export interface MissingPrivilege {
  /** As capabilities(7) calls it. */
  readonly name: string;
  /** A sentence without a full stop: what goes wrong and what to do. */
  readonly message: string;
}

interface Privilege {
  readonly name: string;
  /** The bits of the sets in `/proc/self/status`, any of which will do. */
  readonly bits: readonly bigint[];
  readonly without: string;
}

const CAP_DAC_OVERRIDE = 1n;
const CAP_DAC_READ_SEARCH = 2n;
const CAP_SYS_PTRACE = 19n;

/** All that the agent needs beyond what every process may, each found out by leaving it away; docs/privileges.md has the reasons. */
const NEEDED: readonly Privilege[] = [
  {
    name: 'CAP_SYS_PTRACE',
    bits: [CAP_SYS_PTRACE],
    without:
      'the agent may not look into processes of other users: no unix:path and no unix:sha256 is said of them, and that they execute another program or enter another namespace goes unnoticed',
  },
  {
    name: 'CAP_DAC_READ_SEARCH',
    bits: [CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE],
    without:
      'that processes of other users execute another program goes unnoticed, and programs that the agent may not read or reach have no unix:path and no unix:sha256',
  },
];

/**
 * What this process lacks of what the agent needs, in effect now.
 *
 * @param status the text of its `/proc/self/status`
 */
export function missingPrivileges(status: string = readText('/proc/self/status') ?? ''): readonly MissingPrivilege[] {
  const effective = BigInt(`0x${statusField(status, 'CapEff') ?? '0'}`);
  return NEEDED.filter(({ bits }) => !bits.some((bit) => ((effective >> bit) & 1n) === 1n)).map(
    ({ name, without }) => ({
      name,
      message: `${name} is missing: ${without}; give it to the agent, as deploy/systemd/mayfly.service does, or run it as root`,
    }),
  );
}
