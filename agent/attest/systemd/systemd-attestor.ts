import { existsSync } from 'node:fs';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import { type Selector, selector } from '../../kernel/selector.ts';
import type { ProcessInstance } from '../../peer/instance.ts';
import { readText } from '../../peer/system/proc.ts';
import { type Attestor, type Found, NOTHING } from '../attestor.ts';
import { NO_CONTEXT } from '../context.ts';
import { ContextWatch } from '../context-watch.ts';
import type { Contexts } from '../contexts.ts';
import { Shortcomings } from '../shortcomings.ts';
import { SystemdManager, type Unit } from './systemd-manager.ts';
import { SystemdUnits } from './systemd-units.ts';
import { isIn, type UnitCgroup, unitCgroupIn, userUnitIn } from './unit-cgroup.ts';

export interface SystemdAttestorOptions {
  /** The socket of the system's message bus. */
  readonly socket: string;
  readonly contexts: Contexts;
  readonly clock: Clock;
  /** The text of a process' `/proc/<pid>/cgroup`; read there unless given. */
  readonly cgroupOf?: (pid: number) => string | undefined;
}

const SENTENCES = {
  unanswered:
    'systemd could not be asked about a process that is in a unit, and the process was refused; look at systemd and at its message bus',
} as const;

/**
 * The `systemd` attestor: which unit of the system's manager a process is in, as SPIRE's says it, and the run of that unit.
 *
 * Of a user's own manager it says `user_unit` with the uid in front, and never `id`: that user starts what he likes there under
 * whatever name, `sshd.service` as well. The name is what the cgroup says. His manager is not asked, since it could say nothing better
 * and would be one more whom the agent has to talk to.
 */
export class SystemdAttestor implements Attestor {
  readonly name = 'systemd';
  readonly #socket: string;
  readonly #manager: SystemdManager;
  readonly #watch: ContextWatch;
  readonly #cgroupOf: (pid: number) => string | undefined;
  readonly #shortcomings: Shortcomings<keyof typeof SENTENCES>;

  constructor({ socket, contexts, clock, cgroupOf = readCgroup }: SystemdAttestorOptions) {
    this.#socket = socket;
    this.#manager = new SystemdManager(socket, clock);
    this.#watch = new ContextWatch(new SystemdUnits(this.#manager), contexts, clock);
    this.#cgroupOf = cgroupOf;
    this.#shortcomings = new Shortcomings(SENTENCES, clock);
  }

  async attest(instance: ProcessInstance, signal: AbortSignal): Promise<Found> {
    const { pid } = instance;
    const text = this.#cgroupOf(pid);
    if (text === undefined) throw new Error(`/proc/${pid}/cgroup cannot be read`);
    const cgroup = unitCgroupIn(text);
    if (cgroup === undefined) return NOTHING;
    const unit = await this.#unitOf(pid, signal);
    // What is left of a run that is over belongs to none.
    if (unit?.runs !== true) return NOTHING;
    // systemd counts processes in its own pid namespace, the agent in its own, and a number that is another's there gets his unit.
    if (!isIn(cgroup, unit.id)) {
      throw new Error(
        `systemd says that process ${pid} is in ${unit.id}, its cgroup that it is in ${cgroup.names.at(-1)}; run the agent in the pid namespace of the host`,
      );
    }
    const { id, invocation } = unit;
    const context = invocation === '' ? NO_CONTEXT : Object.freeze({ unit: Object.freeze({ id, invocation }) });
    return { selectors: [...selectorsOf(unit, cgroup)], context };
  }

  shortcomings(): readonly string[] {
    const { failure } = this.#watch;
    return [
      ...(existsSync(this.#socket)
        ? []
        : [
            `There is no message bus at ${this.#socket}: systemd does not run this machine, or the agent does not see its bus; systemd:… is said of no process, and who is in a unit is refused`,
          ]),
      ...(failure === undefined
        ? []
        : [`That a unit stops or is started again goes unnoticed until systemd can be asked again (${failure})`]),
      ...this.#shortcomings.list(),
    ];
  }

  async close(): Promise<void> {
    await this.#watch.close();
    await this.#manager.close();
  }

  async #unitOf(pid: number, signal: AbortSignal): Promise<Unit | undefined> {
    try {
      return await this.#manager.unitOf(pid, signal);
    } catch (error) {
      this.#shortcomings.note('unanswered', `process ${pid}: ${messageOf(error)}`);
      throw error;
    }
  }
}

/** procfs answers from memory, so it is asked in line. */
function readCgroup(pid: number): string | undefined {
  return readText(`/proc/${pid}/cgroup`);
}

function* selectorsOf({ id, fragmentPath }: Unit, cgroup: UnitCgroup): Generator<Selector> {
  yield selector('systemd', 'id', id);
  if (fragmentPath !== '') yield selector('systemd', 'fragment_path', fragmentPath);
  const user = userUnitIn(cgroup, id);
  if (user !== undefined) yield selector('systemd', 'user_unit', user.uid, user.unit);
}
