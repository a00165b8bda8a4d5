// Loaded into an agent with `--import`: at each SIGWINCH its wall clock makes the next of the steps in CLOCK_STEPS (milliseconds,
// separated by commas), as the machine's would for everybody; monotonic time goes on.
const now = Date.now;
const steps = (process.env['CLOCK_STEPS'] ?? '').split(',').map(Number);
let offset = 0;

Date.now = () => now() + offset;

process.on('SIGWINCH', () => {
  offset += steps.shift() ?? 0;
});
