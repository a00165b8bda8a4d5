/** A file, a link or a directory of an archive. */
export interface TarEntry {
  readonly name: string;
  readonly content: { readonly file: Buffer } | { readonly link: string } | 'directory';
  /** Permissions. */
  readonly mode: number;
}

const BLOCK = 512;
const NAME_MAX = 100;

/** A tar archive in the format of POSIX (ustar), root's and without times: the same entries make the same bytes. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const data = typeof entry.content === 'object' && 'file' in entry.content ? entry.content.file : Buffer.alloc(0);
    return [headerOf(entry, data.length), data, Buffer.alloc(-data.length & (BLOCK - 1))];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function headerOf({ name, content, mode }: TarEntry, size: number): Buffer {
  if (Buffer.byteLength(name) > NAME_MAX) throw new Error(`${name} is too long for a tar header`);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0);
  const octal = (value: number, at: number, length: number) =>
    header.write(value.toString(8).padStart(length - 1, '0'), at);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  header.write(' '.repeat(8), 148);
  if (content === 'directory') header.write('5', 156);
  else if ('link' in content) header.write('2', 156);
  else header.write('0', 156);
  if (content !== 'directory' && 'link' in content) header.write(content.link, 157);
  header.write('ustar\u000000', 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return header;
}
