import { join } from 'node:path';

/** koffi's native part for glibc, in a `node_modules` that was installed for an architecture as Node names it. */
export function nativeOf(modules: string, arch: string): string {
  return join(modules, '@koromix', `koffi-linux-${arch}`, `linux_${arch}`, 'koffi.node');
}
