/**
 * A value of D-Bus. 64-bit integers are bigints, arrays of bytes are buffers, dictionaries are maps; a variant is what is in it.
 */
export type Value = boolean | number | bigint | string | Buffer | ValueList | ValueMap;
/** An array or a structure. */
export type ValueList = readonly Value[];
/** A dictionary. */
export type ValueMap = ReadonlyMap<Value, Value>;

/** What a signature says of one value. */
export type Type =
  | { readonly kind: 'basic'; readonly code: BasicCode }
  | { readonly kind: 'variant' }
  | { readonly kind: 'array'; readonly of: Type }
  | { readonly kind: 'dictionary'; readonly key: BasicCode; readonly value: Type }
  | { readonly kind: 'structure'; readonly of: readonly Type[] };

const BASIC_CODES = ['y', 'b', 'n', 'q', 'i', 'u', 'x', 't', 'd', 's', 'o', 'g', 'h'] as const;
export type BasicCode = (typeof BASIC_CODES)[number];

/** What a message may be nested: 32 arrays in 32 structures, as the specification has it, is far beyond what anybody sends. */
export const DEEPEST = 64;
const LONGEST_SIGNATURE = 255;

/** What is not D-Bus: nothing that comes after it can be read either. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

/**
 * The types that a signature names, such as `a{sv}`.
 *
 * @throws MalformedMessage
 */
export function typesOf(signature: string): readonly Type[] {
  if (signature.length > LONGEST_SIGNATURE) throw new MalformedMessage('a signature is too long');
  const reader = new SignatureReader(signature);
  const types: Type[] = [];
  while (!reader.atEnd) types.push(reader.type(0));
  return types;
}

class SignatureReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at === this.#text.length;
  }

  type(depth: number): Type {
    if (depth > DEEPEST) throw new MalformedMessage('a signature is nested too deeply');
    const code = this.#text[this.#at++] ?? '';
    switch (code) {
      case 'v':
        return { kind: 'variant' };
      case 'a':
        return this.#text[this.#at] === '{' ? this.#dictionary(depth) : { kind: 'array', of: this.type(depth + 1) };
      case '(':
        return this.#structure(depth);
      default:
        return { kind: 'basic', code: basic(code) };
    }
  }

  #dictionary(depth: number): Type {
    this.#at += 1;
    const key = basic(this.#text[this.#at++]);
    const value = this.type(depth + 1);
    this.#end('}');
    return { kind: 'dictionary', key, value };
  }

  #structure(depth: number): Type {
    const of: Type[] = [];
    while (this.#text[this.#at] !== ')') of.push(this.type(depth + 1));
    this.#end(')');
    if (of.length === 0) throw new MalformedMessage('a structure has nothing in it');
    return { kind: 'structure', of };
  }

  #end(code: string): void {
    if (this.#text[this.#at++] !== code) throw new MalformedMessage('a signature does not close what it opens');
  }
}

function basic(code: string | undefined): BasicCode {
  const known = BASIC_CODES.find((each) => each === code);
  if (known === undefined) throw new MalformedMessage('a signature names no known type');
  return known;
}
