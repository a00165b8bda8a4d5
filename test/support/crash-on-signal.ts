// Loaded into an agent with `--import`: at SIGUSR2 it fails in the way that CRASH names, somewhere where nobody catches it.
process.on('SIGUSR2', () => {
  if (process.env['CRASH'] === 'exception') throw new Error('on purpose');
  void Promise.reject(new Error('on purpose'));
});
