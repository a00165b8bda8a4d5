import { join } from 'node:path';

/** koffi's native part for glibc, in its package for an architecture as Node names it. */
export function nativeOf(koffi: string, arch: string): string {
  return join(koffi, `linux_${arch}`, 'koffi.node');
}

/** The package that npm has installed for this machine. @param root the repository's folder */
export function installedNative(root: string): string {
  return nativeOf(join(root, 'node_modules/@koromix', `koffi-linux-${process.arch}`), process.arch);
}
