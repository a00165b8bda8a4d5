import { unpackPackages as unpack } from '../debian.ts';

/** What a node runs that is not Go source of the module proxy. */
const PACKAGES: readonly string[] = ['containerd', 'runc', 'containernetworking-plugins', 'busybox-static'];

/** Unpacks them below a directory. @returns the directory, laid out like the root of a file system */
export function unpackPackages(directory: string): Promise<string> {
  return unpack(directory, PACKAGES);
}
