/** Text that is canonical JSON already. */
export class CanonicalText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

// The same process and the same selectors stand in record after record: what is frozen cannot change and is written out once.
const known = new WeakMap<object, string>();

/**
 * The canonical JSON of RFC 8785: no white space, members in the order of their names' UTF-16 units, one spelling for each string and
 * number. What is written in it has one text alone, so that a hash over the text is a hash over the value. Of numbers it takes
 * safe integers only, whose spelling leaves no question. Members that are `undefined` are left out. A lone surrogate, which no
 * UTF-8 can hold, becomes U+FFFD.
 *
 * @throws TypeError for anything that has no place in a record
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return stringText(value);
    case 'number':
      if (!Number.isSafeInteger(value)) throw new TypeError(`${value} is no safe integer`);
      // RFC 8785 §3.2.2.3 by way of ECMAScript: minus zero is 0.
      return String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      return objectText(value);
    case 'undefined':
    case 'bigint':
    case 'function':
    case 'symbol':
      throw new TypeError(`a ${typeof value} has no place in a record`);
  }
}

function objectText(value: object | null): string {
  if (value === null) throw new TypeError('null has no place in a record');
  if (value instanceof CanonicalText) return value.text;
  const before = known.get(value);
  if (before !== undefined) return before;
  const text = Array.isArray(value) ? `[${value.map(canonicalJson).join(',')}]` : membersText(value);
  if (Object.isFrozen(value)) known.set(value, text);
  return text;
}

function membersText(value: object): string {
  // A key, a buffer, a secret: what is no plain value has come here by mistake.
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(`a ${value.constructor.name} has no place in a record`);
  }
  const members: Readonly<Record<string, unknown>> = { ...value };
  // The default order of sort() is that of UTF-16 units (§3.2.3).
  const names = Object.keys(members).sort();
  let text = '';
  for (const name of names) {
    const member = members[name];
    if (member === undefined) continue;
    // Two names could become one.
    if (!name.isWellFormed()) throw new TypeError('a name in a record is no Unicode text');
    text += `${text === '' ? '{' : ','}${JSON.stringify(name)}:${canonicalJson(member)}`;
  }
  return text === '' ? '{}' : `${text}}`;
}

/** ECMAScript's spelling of strings is the one of §3.2.2.2, lone surrogates aside. */
function stringText(value: string): string {
  return JSON.stringify(value.isWellFormed() ? value : value.toWellFormed());
}
