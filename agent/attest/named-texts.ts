import * as v from 'valibot';

/**
 * Texts by name, as labels are, in an answer in JSON. A schema of records leaves out the names that mean something to JavaScript; of a label
 * they may be as well, `prototype` among them.
 */
export const namedTexts = v.custom<Readonly<Record<string, string>>>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string'),
  'must be texts by name',
);
