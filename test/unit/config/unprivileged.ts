/** Runs `run` as a user whom permissions bind: root passes every check. The test has its process to itself. */
export async function unprivileged(run: () => Promise<unknown>): Promise<void> {
  if (process.geteuid?.() !== 0) {
    await run();
    return;
  }
  process.seteuid?.(65_534);
  try {
    await run();
  } finally {
    process.seteuid?.(0);
  }
}
