import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { contradictions } from './combinations.ts';
import { type Config, camelCase, toConfig, withAbsolutePaths } from './config.ts';
import { ConfigPlaces } from './config-places.ts';
import { absentCredentials, credentialsFolder } from './credential.ts';
import { configKeys } from './keys.ts';
import { applyOverrides, type ConfigFlags, readOverrides } from './overrides.ts';
import { type Contradiction, InvalidConfig } from './problem.ts';
import { configSchema } from './schema.ts';
import { check } from './schema-problems.ts';
import { readTextFile } from './text-file.ts';
import { readTree } from './yaml-tree.ts';

export interface ConfigSources {
  /** The configuration file. */
  readonly path: string;
  /** The environment; of it only `MAYFLY_*` and `CREDENTIALS_DIRECTORY` count. */
  readonly env: NodeJS.ProcessEnv;
  readonly flags?: ConfigFlags;
}

/** The largest configuration file that is read. */
const MAX_CONFIG_BYTES = 1024 * 1024;

/**
 * Reads the configuration: defaults, under the file, under `MAYFLY_*` variables, under flags. Relative paths of the file are of its
 * folder, those of variables and flags of the working directory.
 *
 * @param running the configuration of an agent that runs: what such an agent cannot change is then refused as well
 * @throws InvalidConfig with everything that is wrong
 */
export async function loadConfig({ path, env, flags = {} }: ConfigSources, running?: Config): Promise<Config> {
  const file = resolve(path);
  const tree = readTree(path, await readTextFile(path, MAX_CONFIG_BYTES));
  const { overrides, problems } = readOverrides(env, flags);
  const places = new ConfigPlaces(tree, overrides);

  const checked = check(configSchema, applyOverrides(tree.value, overrides), places);
  if ('problems' in checked) throw new InvalidConfig([...problems, ...places.withoutEnvironment(checked.problems)]);
  if (problems.length > 0) throw new InvalidConfig(problems);

  const credentials = credentialsFolder(env);
  if (credentials === undefined) refuse([...absentCredentials(checked.value)], places);
  const document = withAbsolutePaths(checked.value, file, credentials);
  const config = toConfig(document, file);
  refuse(contradictions(document), places);
  if (running !== undefined) refuse(needingRestart(config, running), places);
  return config;
}

function refuse(contradictions: readonly Contradiction[], places: ConfigPlaces): void {
  if (contradictions.length === 0) return;
  throw new InvalidConfig(contradictions.map(({ paths, message }) => places.problem(paths, message)));
}

function needingRestart(config: Config, running: Config): readonly Contradiction[] {
  return configKeys
    .filter(({ change }) => change === 'restart')
    .filter(({ path }) => !isDeepStrictEqual(valueAt(config, path), valueAt(running, path)))
    .map(({ path, name }) => ({
      paths: [path],
      message: `${name} cannot change while the agent runs, so that nothing of this configuration is used; restart the agent, or put the value back`,
    }));
}

function valueAt(config: Config, path: readonly string[]): unknown {
  return path.map(camelCase).reduce((value: unknown, key) => (value as Readonly<Record<string, unknown>>)[key], config);
}
