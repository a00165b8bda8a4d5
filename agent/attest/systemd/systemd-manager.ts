import type { Clock } from '../../kernel/clock.ts';
import type { Following } from '../context-watch.ts';
import { within } from '../deadline.ts';
import { type Bus, BusError, busCall, connectBus } from './dbus/bus.ts';
import type { Header, MethodCall } from './dbus/message.ts';
import type { Value } from './dbus/values.ts';

/** A unit as systemd has it now. */
export interface Unit {
  readonly id: string;
  /** Empty where the unit has no file, as `init.scope`. */
  readonly fragmentPath: string;
  /** 32 hexadecimal digits, others each time that the unit is started; empty of what is never started, as a slice. */
  readonly invocation: string;
  /** False when it has stopped. One that is about to stop runs. */
  readonly runs: boolean;
}

const SYSTEMD = 'org.freedesktop.systemd1';
const PATH = '/org/freedesktop/systemd1';
const UNITS = `${PATH}/unit/`;
const MANAGER = `${SYSTEMD}.Manager`;
const UNIT = `${SYSTEMD}.Unit`;
const PROPERTIES = 'org.freedesktop.DBus.Properties';
const CHANGES =
  `type='signal',sender='${SYSTEMD}',interface='${PROPERTIES}',member='PropertiesChanged',` +
  `path_namespace='${UNITS.slice(0, -1)}',arg0='${UNIT}'`;
const BUS = 'org.freedesktop.DBus';
const OWNER = `type='signal',sender='${BUS}',interface='${BUS}',member='NameOwnerChanged',arg0='${SYSTEMD}'`;
// What systemd says of a process that is in no unit, or is gone.
const NO_UNIT: ReadonlySet<string> = new Set([`${SYSTEMD}.NoUnitForPID`, `${SYSTEMD}.NoSuchProcess`]);
const STOPPED: ReadonlySet<string> = new Set(['inactive', 'failed']);
// A bus that is there and does not answer is left alone before the attestor's own time is over.
const CONNECT_WITHIN_MS = 4000;

/** The manager of the system, systemd as process 1, over the system's bus. Connects when it is asked, and anew after a loss. */
export class SystemdManager {
  readonly #socket: string;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  #bus: Promise<Bus> | undefined;

  /** @param socket of the system's bus */
  constructor(socket: string, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
  }

  /**
   * The unit that a process is in, or `undefined` when systemd knows none. The number is to be held by a pidfd meanwhile.
   *
   * @throws Error when systemd cannot be asked or answers something else; the reason of `signal`
   */
  async unitOf(pid: number, signal: AbortSignal): Promise<Unit | undefined> {
    const bus = await this.#connected(signal);
    try {
      const [path] = await bus.call(managerCall('GetUnitByPID', pid), signal);
      if (typeof path !== 'string' || !path.startsWith(UNITS)) throw new Error('systemd names no unit');
      return unitIn(await bus.call(unitCall(path), signal));
    } catch (error) {
      if (error instanceof BusError && NO_UNIT.has(error.error)) return undefined;
      throw error;
    }
  }

  /**
   * A unit by its name. systemd loads what is not loaded, so that a unit which is gone is one that does not run.
   *
   * @throws Error when systemd cannot be asked or answers something else; the reason of `signal`
   */
  async unit(id: string, signal: AbortSignal): Promise<Unit> {
    const bus = await this.#connected(signal);
    return unitIn(await bus.call(unitCall(pathOf(id)), signal));
  }

  /**
   * Has `changed` called with the name of each unit that may have started or stopped. That is a reason to look and nothing more. Only
   * what systemd itself has sent is one: anybody on the bus may send a signal that looks the same, and have the agent ask all day.
   *
   * @throws Error when systemd cannot be asked; the reason of `signal`
   */
  async follow(changed: (id: string) => void, signal: AbortSignal): Promise<Following> {
    const bus = await this.#connected(signal);
    const over = Promise.withResolvers<void>();
    let systemd: Value | undefined;
    const unfollow = bus.onSignal((header) => {
      if (header.sender === BUS && header.member === 'NameOwnerChanged') over.resolve();
      if (header.sender !== systemd) return;
      const id = changedUnit(header);
      if (id !== undefined) changed(id);
    });
    const stop = (): void => {
      unfollow();
      over.resolve();
      const ignore = (): void => undefined;
      for (const match of [OWNER, CHANGES]) {
        bus.call(busCall('RemoveMatch', match), this.#closing.signal).catch(ignore);
      }
      bus.call(managerCall('Unsubscribe'), this.#closing.signal).catch(ignore);
    };
    try {
      await bus.call(busCall('AddMatch', OWNER), signal);
      [systemd] = await bus.call(busCall('GetNameOwner', SYSTEMD), signal);
      await bus.call(busCall('AddMatch', CHANGES), signal);
      // systemd says nothing of units while nobody has asked it to.
      await bus.call(managerCall('Subscribe'), signal);
    } catch (error) {
      // An answer that came too late has done what was asked, and systemd takes nobody twice.
      stop();
      throw error;
    }
    return { over: Promise.race([bus.closed, over.promise]), stop };
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the agent shuts down'));
    const bus = await this.#bus?.catch(() => undefined);
    bus?.close();
    await bus?.closed;
  }

  /** One connection for all: it is made on, also when the first who needs it gives up. */
  async #connected(signal: AbortSignal): Promise<Bus> {
    signal.throwIfAborted();
    this.#bus ??= this.#connect();
    const cut = Promise.withResolvers<never>();
    const abort = (): void => cut.reject(signal.reason);
    signal.addEventListener('abort', abort);
    try {
      return await Promise.race([this.#bus, cut.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  async #connect(): Promise<Bus> {
    try {
      const bus = await within(CONNECT_WITHIN_MS, this.#clock, this.#closing.signal, (signal) =>
        connectBus(this.#socket, signal),
      );
      void bus.closed.then(() => (this.#bus = undefined));
      return bus;
    } catch (error) {
      this.#bus = undefined;
      throw error;
    }
  }
}

function managerCall(member: string, ...pid: readonly number[]): MethodCall {
  return { destination: SYSTEMD, path: PATH, interface: MANAGER, member, arguments: pid };
}

/** All properties in one answer: asked for one by one, they could be of two runs of the unit. */
function unitCall(path: string): MethodCall {
  return { destination: SYSTEMD, path, interface: PROPERTIES, member: 'GetAll', arguments: [UNIT] };
}

function unitIn([properties]: readonly Value[]): Unit {
  if (!(properties instanceof Map)) throw new Error('systemd does not say what a unit is');
  const id: unknown = properties.get('Id');
  const fragmentPath: unknown = properties.get('FragmentPath');
  const invocation: unknown = properties.get('InvocationID');
  const state: unknown = properties.get('ActiveState');
  if (typeof id !== 'string' || id === '' || typeof fragmentPath !== 'string' || typeof state !== 'string') {
    throw new Error('systemd says of a unit neither its name nor its state');
  }
  if (!Buffer.isBuffer(invocation) || ![0, 16].includes(invocation.length)) {
    throw new Error(`systemd says no invocation of ${id}`);
  }
  return { id, fragmentPath, invocation: invocation.toString('hex'), runs: !STOPPED.has(state) };
}

/** Which unit a signal is about. The match lets those pass that are about its state or run. */
function changedUnit({ member, path }: Header): string | undefined {
  return member === 'PropertiesChanged' && path.startsWith(UNITS) ? nameAt(path) : undefined;
}

/** systemd writes every byte of a name that is no letter or digit, and a digit in front, as `_` and two hexadecimal digits. */
function pathOf(id: string): string {
  const escaped = Array.from(Buffer.from(id), (byte, index) => {
    const character = String.fromCharCode(byte);
    const plain = index === 0 ? /[A-Za-z]/ : /[A-Za-z0-9]/;
    return plain.test(character) ? character : `_${byte.toString(16).padStart(2, '0')}`;
  });
  return `${UNITS}${escaped.join('')}`;
}

function nameAt(path: string): string {
  return path
    .slice(UNITS.length)
    .replaceAll(/_([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
