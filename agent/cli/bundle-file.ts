import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { isLackOfRoom, isMayflyError, MayflyError, messageOf, systemCodeOf } from '../kernel/errors.ts';
import { replaceFile } from '../kernel/replaced-file.ts';

/** A file for other agents to read, replaced whole: one that is read half written would be refused. */
export class BundleFile {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Writes nothing yet. A link stays, and what it leads to is replaced.
   *
   * @param path absolute
   * @throws MayflyError `INVALID_USAGE` when something other than a file is there, which would be replaced by one; `PERMISSION_MISSING`
   */
  static at(path: string): BundleFile {
    try {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.isFile() === false) {
        throw new MayflyError('INVALID_USAGE', `${path} is no file, and stays as it is; name a file`);
      }
      const file = new BundleFile(found === undefined ? path : realpathSync(path));
      accessSync(dirname(file.path), constants.W_OK);
      return file;
    } catch (error) {
      throw explained(path, error);
    }
  }

  /** @throws MayflyError `DISK_FULL`, `PERMISSION_MISSING`; the file is then as it was */
  write(text: string): void {
    try {
      replaceFile(this.path, text, 0o644);
    } catch (error) {
      throw explained(this.path, error);
    }
  }
}

function explained(path: string, error: unknown): unknown {
  if (systemCodeOf(error) === undefined || isMayflyError(error)) return error;
  if (isLackOfRoom(error)) {
    return new MayflyError('DISK_FULL', `there is no room for ${path}; make some`, { cause: error });
  }
  return new MayflyError(
    'PERMISSION_MISSING',
    `${path} cannot be written, name a file in a folder of your own: ${messageOf(error)}`,
    { cause: error },
  );
}
