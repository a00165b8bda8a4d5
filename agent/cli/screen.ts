import { printable } from './output.ts';
import type { Terminal } from './terminal.ts';

const ROWS = 24;
const COLUMNS = 80;
const HOME = '\u001b[H';
const CLEAR_REST_OF_LINE = '\u001b[K';
const CLEAR_REST_OF_SCREEN = '\u001b[J';

/**
 * Draws lines over what a terminal shows, without flicker: nothing is cleared that is not written anew. What has no room is cut, and
 * counted: a line that wraps, or a screen that scrolls, would be drawn over in the wrong place.
 */
export function drawScreen(stdout: Terminal['stdout'], lines: readonly string[]): void {
  const { rows = ROWS, columns = COLUMNS } = stdout;
  const room = Math.max(1, rows - 1);
  const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `and ${lines.length - room + 1} more`];
  const text = shown.map((line) => `${printable(line).slice(0, columns)}${CLEAR_REST_OF_LINE}\n`).join('');
  stdout.write(`${HOME}${text}${CLEAR_REST_OF_SCREEN}`);
}
