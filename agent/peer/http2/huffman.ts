import { MayflyError } from '../../kernel/errors.ts';

/**
 * The code lengths of RFC 7541, appendix B: for each length the symbols that have it. The code is canonical, so that the lengths
 * give the codes: counting upwards, shorter first, then by symbol. 256 is EOS.
 */
const SYMBOLS_BY_LENGTH: ReadonlyMap<number, readonly number[]> = new Map([
  [5, codePoints('012aceiost')],
  [6, codePoints(' %-./3456789=A_bdfghlmnpru')],
  [7, codePoints(':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz')],
  [8, codePoints('&*,;XZ')],
  [10, codePoints('!"()?')],
  [11, codePoints("'+|")],
  [12, codePoints('#>')],
  [13, codePoints('\0$@[]~')],
  [14, codePoints('^}')],
  [15, codePoints('<`{')],
  [19, [92, 195, 208]],
  [20, [128, 130, 131, 162, 184, 194, 224, 226]],
  [21, [153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230]],
  [
    22,
    [
      129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198,
      228, 232, 233,
    ],
  ],
  [
    23,
    [
      1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182,
      183, 188, 191, 197, 231, 239,
    ],
  ],
  [24, [9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237]],
  [25, [199, 207, 234, 235]],
  [26, [192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255]],
  [27, [203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254]],
  [
    28,
    [2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249],
  ],
  [30, [10, 13, 22, 256]],
]);

const EOS = 256;
const NO_SYMBOL = 0x1ff;

/**
 * The decoder as a state machine that takes four bits at a time: no code is shorter than five, so a step yields one symbol at most.
 * `steps[state * 16 + bits]` is `next state << 9 | symbol`. A state is a node of the code's tree that is no leaf.
 */
const steps = new Int32Array(256 * 16);
/** States in which a text may end: at most seven bits of EOS' code, which are ones, since the last symbol. */
const mayEnd = new Uint8Array(256);
build();

/** How many bytes {@link decodeHuffman} writes at most for so many bytes of code. */
export function maxDecodedLength(encoded: number): number {
  return Math.floor((encoded * 8) / 5);
}

/**
 * Decodes `bytes` from `start` to `end` into `into`, which must hold {@link maxDecodedLength} bytes, and returns the length.
 *
 * @throws MayflyError `INVALID_REQUEST` for a code that holds EOS, or padding that is longer than seven bits or not all ones
 *   (RFC 7541, section 5.2)
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number, into: Buffer): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    for (let shift = 4; shift >= 0; shift -= 4) {
      const step = steps[state * 16 + ((byte >> shift) & 0xf)] ?? 0;
      const symbol = step & 0x1ff;
      if (symbol === EOS) throw new MayflyError('INVALID_REQUEST', 'a Huffman code holds the end-of-string symbol');
      if (symbol !== NO_SYMBOL) {
        into[length] = symbol;
        length += 1;
      }
      state = step >> 9;
    }
  }
  if (mayEnd[state] === 0) throw new MayflyError('INVALID_REQUEST', 'a Huffman code ends with wrong padding');
  return length;
}

function codePoints(text: string): number[] {
  return [...Buffer.from(text, 'latin1')];
}

function build(): void {
  // Nodes of the tree: a non-negative child is a node, a negative one is the leaf of symbol -child - 1.
  const tree: [number, number][] = [[0, 0]];
  let code = 0;
  let previous = 5;
  for (const [length, symbols] of SYMBOLS_BY_LENGTH) {
    code *= 2 ** (length - previous);
    previous = length;
    for (const symbol of symbols) {
      plant(tree, code, length, symbol);
      code += 1;
    }
  }
  for (let state = 0; state < tree.length; state += 1) {
    for (let bits = 0; bits < 16; bits += 1) {
      let node = state;
      let symbol = NO_SYMBOL;
      for (let bit = 3; bit >= 0; bit -= 1) {
        node = child(tree, node, (bits >> bit) & 1);
        if (node < 0) {
          symbol = -node - 1;
          node = 0;
        }
      }
      steps[state * 16 + bits] = (node << 9) | symbol;
    }
  }
  for (let node = 0, ones = 0; ones <= 7; ones += 1) {
    mayEnd[node] = 1;
    node = child(tree, node, 1);
  }
}

function plant(tree: [number, number][], code: number, length: number, symbol: number): void {
  let node = 0;
  for (let bit = length - 1; bit > 0; bit -= 1) {
    const side = (code >>> bit) & 1;
    if (child(tree, node, side) === 0) {
      setChild(tree, node, side, tree.length);
      tree.push([0, 0]);
    }
    node = child(tree, node, side);
  }
  setChild(tree, node, code & 1, -symbol - 1);
}

function child(tree: readonly [number, number][], node: number, side: number): number {
  const children = tree[node] ?? [0, 0];
  return side === 0 ? children[0] : children[1];
}

function setChild(tree: readonly [number, number][], node: number, side: number, value: number): void {
  const children = tree[node];
  if (children !== undefined) children[side === 0 ? 0 : 1] = value;
}
