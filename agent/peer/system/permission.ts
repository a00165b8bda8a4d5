import { MayflyError, systemCodeOf } from '../../kernel/errors.ts';

/**
 * Runs `run`, and turns a refusal of the system into a sentence: `what` continues "may not".
 *
 * @throws MayflyError `PERMISSION_MISSING`; what `run` throws otherwise
 */
export function withPermission<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new MayflyError(
      'PERMISSION_MISSING',
      `uid ${process.geteuid?.()} may not ${what} (${code}); give the directory to this user, or choose another path`,
      { cause: error },
    );
  }
}
