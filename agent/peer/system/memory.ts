import { libc } from './native.ts';

/**
 * Gives back to the kernel what was freed outside of V8's heap, and what malloc would keep for the next who asks: compiling a program
 * takes and frees several megabytes, on several threads. Takes a millisecond.
 */
export function returnFreedMemory(): void {
  libc.mallocTrim(0);
}
