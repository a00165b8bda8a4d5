import { resolve } from 'node:path';
import { type ConfigKey, configKeys, configSections } from './keys.ts';
import { type DocumentPath, type Problem, show } from './problem.ts';
import { nearest } from './spelling.ts';

/** The flags of the command line that configure the agent, as they were written. */
export interface ConfigFlags {
  readonly trustDomain?: string | undefined;
  readonly socket?: string | undefined;
  readonly adminSocket?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly logLevel?: string | undefined;
  /** Each `--set`: `peer.require_pidfd=true`. */
  readonly set?: readonly string[] | undefined;
}

/** A value that takes the place of the file's. */
export interface Override {
  readonly key: ConfigKey;
  readonly value: unknown;
  /** `MAYFLY_SOCKET`, `--socket`, `--set peer.require_pidfd`. */
  readonly source: string;
  /** Whether a message may show the value: not if it comes from the environment. */
  readonly shown: boolean;
}

/** Overrides in ascending order of precedence, and what is wrong with how they were written. */
export interface Overrides {
  readonly overrides: readonly Override[];
  readonly problems: readonly Problem[];
}

const PREFIX = 'MAYFLY_';

/**
 * Variables that begin like the agent's and configure something else: the name of the configuration file, and what `mayfly watch
 * --exec` tells its hook, which may itself start or check an agent.
 */
export const RESERVED_VARIABLES: readonly string[] = [
  'MAYFLY_CONFIG',
  'MAYFLY_SPIFFE_ID',
  'MAYFLY_SERIAL',
  'MAYFLY_NOT_AFTER',
  'MAYFLY_SVID_FILE',
  'MAYFLY_KEY_FILE',
  'MAYFLY_BUNDLE_FILE',
  'MAYFLY_CRL_FILE',
];

// Kubernetes tells every container of each service of its namespace; one named `mayfly` must not keep the agent from starting.
const SERVICE_LINK =
  /^MAYFLY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

const NAMED_FLAGS = {
  trustDomain: ['--trust-domain', 'trust_domain'],
  socket: ['--socket', 'socket'],
  adminSocket: ['--admin-socket', 'admin_socket'],
  dataDir: ['--data-dir', 'data_dir'],
  logLevel: ['--log-level', 'log_level'],
} as const;

/** `MAYFLY_PEER_REQUIRE_PIDFD`. */
export function variableOf(key: ConfigKey): string {
  return PREFIX + key.path.join('_').toUpperCase();
}

const keyOfVariable = new Map(configKeys.map((key) => [variableOf(key), key]));
const keyOfName = new Map(configKeys.map((key) => [key.name, key]));

/**
 * What environment and flags say. A variable that begins with `MAYFLY_` and is none of the agent's is a problem: it is a typo, and
 * somebody believes that it has taken effect. Relative paths are of the working directory.
 */
export function readOverrides(env: NodeJS.ProcessEnv, flags: ConfigFlags): Overrides {
  const environment = readEnvironment(env);
  const commandLine = readFlags(flags);
  return {
    overrides: [...environment.overrides, ...commandLine.overrides],
    problems: [...environment.problems, ...commandLine.problems],
  };
}

/** Puts `overrides` over what the file says; where the file is no mapping, it stays for the schema to refuse. */
export function applyOverrides(file: unknown, overrides: readonly Override[]): unknown {
  let value: unknown = file ?? {};
  for (const { key, value: replacement } of overrides) value = replaced(value, key.path, replacement);
  return value;
}

/** The override in effect at `path`, or at something around it. */
export function overrideAt(path: DocumentPath, overrides: readonly Override[]): Override | undefined {
  return overrides.findLast(({ key }) => key.path.every((part, depth) => part === path[depth]));
}

function readEnvironment(env: NodeJS.ProcessEnv): Overrides {
  const overrides: Override[] = [];
  const problems: Problem[] = [];
  for (const [variable, text] of Object.entries(env).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!variable.startsWith(PREFIX) || text === undefined) continue;
    const key = keyOfVariable.get(variable);
    const isForeign = RESERVED_VARIABLES.includes(variable) || (key === undefined && SERVICE_LINK.test(variable));
    if (isForeign) continue;
    if (key === undefined) problems.push(problem(variable, unknownVariable(variable)));
    else if (key.takes === 'list') problems.push(problem(variable, isList(key)));
    else overrides.push({ key, value: valueOf(key, text), source: variable, shown: false });
  }
  return { overrides, problems };
}

function readFlags(flags: ConfigFlags): Overrides {
  const overrides: Override[] = [];
  const problems: Problem[] = [];
  const take = (source: string, name: string, text: string): void => {
    const key = keyOfName.get(name);
    const given = overrides.find((override) => override.key.name === name);
    if (key === undefined) problems.push(problem(source, unknownName(name)));
    else if (key.takes === 'list') problems.push(problem(source, isList(key)));
    else if (given !== undefined)
      problems.push(problem(source, `${name} is given by ${given.source} already; give it once`));
    else overrides.push({ key, value: valueOf(key, text), source, shown: true });
  };
  for (const [property, [flag, name]] of Object.entries(NAMED_FLAGS)) {
    const text = flags[property as keyof typeof NAMED_FLAGS];
    if (text !== undefined) take(flag, name, text);
  }
  for (const assignment of flags.set ?? []) {
    const equals = assignment.indexOf('=');
    const name = equals < 0 ? assignment : assignment.slice(0, equals);
    if (equals < 1)
      problems.push(
        problem('--set', `${show(assignment)} sets nothing; write a key and its value, as in peer.require_pidfd=true`),
      );
    else take(`--set ${name}`, name, assignment.slice(equals + 1));
  }
  return { overrides, problems };
}

/** What the same text would be in the file; what does not fit stays text, and the schema says so. */
function valueOf(key: ConfigKey, text: string): unknown {
  if (key.takes === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  if (key.takes === 'number' && /^-?\d{1,15}$/.test(text)) return Number(text);
  return key.takes === 'path' && text !== '' && !text.startsWith('unix:') ? resolve(text) : text;
}

function replaced(value: unknown, path: readonly string[], replacement: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return replacement;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const section = value as Readonly<Record<string, unknown>>;
  return { ...section, [key]: replaced(section[key] ?? {}, rest, replacement) };
}

function problem(source: string, message: string): Problem {
  return { source, line: undefined, column: undefined, path: '', message };
}

function isList(key: ConfigKey): string {
  return `${key.name} is a list, which only the configuration file can hold; set it there`;
}

function unknownVariable(variable: string): string {
  const section = configSections.find((name) => variable === PREFIX + name.replace('.', '_').toUpperCase());
  if (section !== undefined)
    return `${section} is a section; set one of its keys, such as ${exampleIn(section, variableOf)}`;
  const near = nearest(
    variable.slice(PREFIX.length),
    [...keyOfVariable.keys()].map((name) => name.slice(PREFIX.length)),
  );
  return `is no variable of the agent; ${near === undefined ? `those are MAYFLY_ and the name of a key, such as MAYFLY_TRUST_DOMAIN; unset it` : `did you mean ${PREFIX}${near}?`}`;
}

function unknownName(name: string): string {
  if (configSections.includes(name))
    return `${name} is a section; set one of its keys, such as ${exampleIn(name, (key) => key.name)}`;
  const near = nearest(name, [...keyOfName.keys()]);
  return `is no known key; ${near === undefined ? 'keys are spelled as in the configuration file, such as peer.require_pidfd' : `did you mean ${near}?`}`;
}

function exampleIn(section: string, spell: (key: ConfigKey) => string): string {
  const key = configKeys.find(({ name }) => name.startsWith(`${section}.`));
  return key === undefined ? section : spell(key);
}
