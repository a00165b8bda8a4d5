// The bytes of JSON that its structure is made of.
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/**
 * etcd takes no object above 1.5 MiB. In JSON it may have several times as many, if somebody fills it with what has to be escaped: such a
 * one is passed over, as all others would be the worse for it.
 */
export const MOST_ITEM_BYTES = 4 * 1024 ** 2;
// What stands around the items is a hundred bytes, and each leaves two.
const MOST_FRAME_BYTES = 64 * 1024;

/**
 * Cuts the list of pods into its items while it arrives, so that never more than one of them is held: a node's manifests are some
 * megabytes, and hardly anything of them is kept. The frame around the items is read as JSON at the end, with a 0 for each item: what
 * is cut short, or no list, is told then, if not before.
 */
export class PodItems {
  readonly #take: (item: readonly Buffer[]) => void;
  #frame = '';
  #items = 0;
  #passedOver = 0;
  /** The parts of an item that has begun in an earlier chunk. */
  #begun: Buffer[] = [];
  #begunBytes = 0;
  #depth = 0;
  /** Whether the second level is a list. */
  #inList = false;
  #inText = false;
  #escaped = false;

  /** @param take gets each item in order, in the parts that it came in */
  constructor(take: (item: readonly Buffer[]) => void) {
    this.#take = take;
  }

  /** How many items had more than {@link MOST_ITEM_BYTES}, and nobody got. */
  get passedOver(): number {
    return this.#passedOver;
  }

  /** @throws Error when this cannot become a list of pods */
  push(chunk: Buffer): void {
    // Where in the chunk the frame or the item goes on that was under way.
    let from = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] ?? 0;
      if (this.#inText) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inText = false;
      } else if (byte === QUOTE) {
        this.#inText = true;
      } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
        if (this.#depth === 1) this.#inList = byte === OPEN_LIST;
        if (this.#depth === 2 && this.#inList) {
          this.#addFrame(chunk.subarray(from, at));
          from = at;
        }
        this.#depth += 1;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        this.#depth -= 1;
        if (this.#depth < 0) throw new Error('it is no JSON');
        if (this.#depth === 2 && this.#inList) {
          this.#addItem(chunk.subarray(from, at + 1));
          this.#finishItem();
          from = at + 1;
        }
      }
    }
    if (this.#depth > 2 && this.#inList) this.#addItem(chunk.subarray(from));
    else this.#addFrame(chunk.subarray(from));
  }

  /**
   * The answer is complete.
   *
   * @returns how many items there were
   * @throws Error when it is no list of pods, or not all of one
   */
  end(): number {
    if (this.#depth > 0 || this.#inText) throw new Error('it ends in the middle');
    const frame = parseFrame(this.#frame);
    if (frame.kind !== 'PodList') throw new Error('it is JSON, and no PodList');
    // Go writes null for a list that was never made.
    const items = frame.items === null ? 0 : Array.isArray(frame.items) ? frame.items.length : undefined;
    if (items !== this.#items) throw new Error('its items are no list of pods');
    return this.#items;
  }

  #addFrame(part: Buffer): void {
    if (part.length === 0) return;
    this.#frame += part.toString('latin1');
    if (!/^\s*(?:\{|$)/.test(this.#frame)) throw new Error('it is no JSON');
    if (this.#frame.length > MOST_FRAME_BYTES) throw new Error('it is no list of pods');
  }

  #addItem(part: Buffer): void {
    this.#begunBytes += part.length;
    if (this.#begunBytes > MOST_ITEM_BYTES) this.#begun = [];
    else this.#begun.push(part);
  }

  #finishItem(): void {
    const item = this.#begun;
    const isTooLarge = this.#begunBytes > MOST_ITEM_BYTES;
    this.#begun = [];
    this.#begunBytes = 0;
    this.#items += 1;
    this.#frame += '0';
    if (isTooLarge) this.#passedOver += 1;
    else this.#take(item);
  }
}

function parseFrame(text: string): { readonly kind?: unknown; readonly items?: unknown } {
  try {
    const frame: unknown = JSON.parse(text);
    return typeof frame === 'object' && frame !== null ? frame : {};
  } catch (error) {
    throw new Error('it is no JSON', { cause: error });
  }
}
