import { resolve } from 'node:path';
import type { Contradiction, DocumentPath } from './problem.ts';

const VARIABLE = 'CREDENTIALS_DIRECTORY';
/** How a path of the file begins that is of the folder where a service manager has put secrets for the agent (systemd.exec(5)). */
const PREFIX = `$${VARIABLE}/`;

/** The folder of credentials, where a service manager has named one. */
export function credentialsFolder(env: NodeJS.ProcessEnv): string | undefined {
  return env[VARIABLE] === '' ? undefined : env[VARIABLE];
}

/** What is wrong with a path that begins with a variable, such that it reads well behind the path. Nothing else expands variables. */
export function variableProblem(path: string): string | undefined {
  if (!path.startsWith('$') || (path.startsWith(PREFIX) && path.length > PREFIX.length)) return undefined;
  return `begins with a variable; only ${PREFIX}NAME is one that is known`;
}

/** Where a credential lies, of a path that names one. @param folder of {@link credentialsFolder} */
export function credentialPath(path: string, folder: string | undefined): string | undefined {
  return folder !== undefined && path.startsWith(PREFIX) ? resolve(folder, path.slice(PREFIX.length)) : undefined;
}

/** The paths that name credentials, where nobody has handed over any. @param document whose paths are as they were written */
export function* absentCredentials(document: unknown, at: DocumentPath = []): Generator<Contradiction> {
  if (typeof document === 'string' && document.startsWith(PREFIX)) {
    yield {
      paths: [at],
      message: `names a credential, and there are none: ${VARIABLE} is not set; have the service manager load it (LoadCredential=), or write where it lies`,
    };
  }
  if (typeof document !== 'object' || document === null) return;
  for (const [key, value] of Object.entries(document)) {
    yield* absentCredentials(value, [...at, Array.isArray(document) ? Number(key) : key]);
  }
}
