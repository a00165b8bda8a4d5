import { describe, expect, it } from 'vitest';
import { unixVocabulary } from '../../../agent/attest/unix/unix-vocabulary.ts';
import { parseDocument } from '../../../agent/config/yaml-document.ts';
import { parseTrustDomain } from '../../../agent/kernel/spiffe-id.ts';
import { entriesOf, entryFileSchema } from '../../../agent/registry/entry-file.ts';
import type { EntryRules } from '../../../agent/registry/entry-rules.ts';
import { entryWarnings } from '../../../agent/registry/entry-warnings.ts';
import { entryOf, templateOf, VOCABULARY } from './entries.ts';

const RULES: EntryRules = {
  trustDomain: parseTrustDomain('example.org'),
  vocabulary: VOCABULARY,
  requireOwner: false,
};

/** The entries of a file whose one entry has these lines, or what is said against it. */
function read(lines: readonly string[], rules: Partial<EntryRules> = {}) {
  const text = `entries:\n  - ${lines.join('\n    ')}\n`;
  return entriesOf(parseDocument('e.yaml', text, entryFileSchema), { ...RULES, ...rules });
}

const ID = 'id: payments';
const SPIFFE_ID = 'spiffe_id: spiffe://example.org/payments';
const SELECTORS = 'selectors: [ "unix:uid:1000" ]';

function problemsOf(lines: readonly string[], rules: Partial<EntryRules> = {}): readonly string[] {
  const { problems } = read(lines, rules);
  return problems.map(({ source, line, column, path, message }) => `${source}:${line}:${column} ${path} ${message}`);
}

describe('an entry', () => {
  it('is what its file says', () => {
    const { entries, problems } = read([
      ID,
      SPIFFE_ID,
      'selectors: [ "unix:uid:1000", "unix:path:/usr/bin/payments", "unix:uid:1000" ]',
      'owner: team-payments@example.org',
      'x509_svid_ttl: 30m',
      'jwt_svid_ttl: 5s',
      'dns_names: [ Payments.internal, "*.pay.example.org", payments.internal ]',
      'hint: internal',
      'federates_with: [ other.org ]',
      'audiences: [ db, "spiffe://other.org/db" ]',
      'expires_at: 2027-01-31T13:00:00.5+01:00',
    ]);
    expect(problems).toEqual([]);
    expect(entries).toEqual([
      {
        id: 'payments',
        spiffeId: 'spiffe://example.org/payments',
        selectors: ['unix:uid:1000', 'unix:path:/usr/bin/payments'],
        owner: 'team-payments@example.org',
        x509SvidTtl: 1_800_000,
        jwtSvidTtl: 5000,
        dnsNames: ['payments.internal', '*.pay.example.org'],
        hint: 'internal',
        federatesWith: ['other.org'],
        audiences: ['db', 'spiffe://other.org/db'],
        expiresAt: Date.UTC(2027, 0, 31, 12, 0, 0, 500),
        source: 'e.yaml:2',
      },
    ]);
    expect(Object.isFrozen(entries[0])).toBe(true);
  });

  it('needs no more than an id, a SPIFFE ID and a selector', () => {
    expect(read([ID, SPIFFE_ID, SELECTORS]).entries).toEqual([
      entryOf('payments', ['unix:uid:1000'], { source: 'e.yaml:2' }),
    ]);
  });
});

describe('what an entry may not say', () => {
  it.each<[string, readonly string[], string]>([
    [
      'a misspelled key',
      [ID, SPIFFE_ID, SELECTORS, 'selektors: []'],
      'e.yaml:5:5: entries[0].selektors: is no known key; did you mean selectors?',
    ],
    ['no id', [SPIFFE_ID, SELECTORS], 'e.yaml:2:5: entries[0].id: is missing; it must be an entry id'],
    [
      'an id with a blank',
      ['id: a b', SPIFFE_ID, SELECTORS],
      'e.yaml:2:9: entries[0].id: "a b" is no entry id; use 1 to 255 of A-Z, a-z, 0-9, ".", "_" and "-"',
    ],
    [
      'a selector without type',
      [ID, SPIFFE_ID, 'selectors: [ 1000 ]'],
      'must be a selector such as unix:uid:1000, found 1000',
    ],
    [
      'a SPIFFE ID in upper case',
      [ID, 'spiffe_id: spiffe://Example.org/a', SELECTORS],
      'has a trust domain that has an upper-case letter',
    ],
    [
      'a lifetime under five seconds',
      [ID, SPIFFE_ID, SELECTORS, 'x509_svid_ttl: 4s'],
      'e.yaml:5:20: entries[0].x509_svid_ttl: must be from 5s to 365d, found 4s',
    ],
    [
      'a lifetime without unit',
      [ID, SPIFFE_ID, SELECTORS, 'jwt_svid_ttl: 300'],
      'entries[0].jwt_svid_ttl: must be a duration from 5s to 365d, found 300',
    ],
    ['a hint over 1024 bytes', [ID, SPIFFE_ID, SELECTORS, `hint: ${'é'.repeat(513)}`], 'is longer than 1024 bytes'],
    [
      'no audience',
      [ID, SPIFFE_ID, SELECTORS, 'audiences: []'],
      'entries[0].audiences: must have at least 1 item, found 0',
    ],
    ['an owner of blanks', [ID, SPIFFE_ID, SELECTORS, 'owner: "  "'], 'entries[0].owner: "  " names nobody'],
    ['a list instead of a mapping', ['- a'], 'entries[0]: must be a mapping of keys to values, found a list'],
  ])('%s', (_, lines, message) => {
    expect(() => read(lines)).toThrow(message);
  });

  it.each([
    ['a..b', 'is no DNS name'],
    ['-a.b', 'is no DNS name'],
    ['a_b.c', 'is no DNS name'],
    ['"a b"', 'is no DNS name'],
    [`${'a'.repeat(64)}.b`, 'is no DNS name'],
    ['a.b.', 'ends with a dot'],
    ['"*.b"', 'is too wide a wildcard'],
    ['"*"', 'is too wide a wildcard'],
    ['a.*.b', 'has a "*" that is not its whole first label'],
    ['10.0.0.1', 'is an address'],
    [Array.from({ length: 85 }, () => 'aa').join('.'), 'is longer than 253 bytes'],
    ['""', 'is no DNS name'],
  ])('the DNS name %s', (name, message) => {
    expect(() => read([ID, SPIFFE_ID, SELECTORS, `dns_names: [ ${name} ]`])).toThrow(message);
  });

  it.each([
    '2027-02-29T00:00:00Z',
    '2027-01-31',
    '2027-01-31T12:00:00',
    '2027-01-31 12:00:00Z',
    '2027-01-31T24:00:00Z',
    '2027-01-31T23:59:60Z',
    '1767225600',
  ])('that it expires at %s', (moment) => {
    expect(() => read([ID, SPIFFE_ID, SELECTORS, `expires_at: "${moment}"`])).toThrow(
      'is no date and time; write it after RFC 3339',
    );
  });

  it('an ID of another trust domain, or of the domain itself', () => {
    expect(problemsOf([ID, 'spiffe_id: spiffe://other.org/a', SELECTORS])).toEqual([
      'e.yaml:3:16 entries[0].spiffe_id is of the trust domain other.org; this agent issues in example.org only: write spiffe://example.org/a',
    ]);
    expect(problemsOf([ID, 'spiffe_id: spiffe://example.org', SELECTORS])).toEqual([
      'e.yaml:3:16 entries[0].spiffe_id names the trust domain itself; add a path, such as spiffe://example.org/payments',
    ]);
  });

  it.each([['selectors: []'], ['owner: me']])('no selector, but %s: it would be everybody’s', (line) => {
    expect(problemsOf([ID, SPIFFE_ID, line])).toEqual([
      expect.stringMatching(
        /^e\.yaml:[24]:\d+ entries\[0\]\.selectors must have at least 1 item, found 0: every process would get this one identity$/,
      ),
    ]);
    expect(read([ID, SPIFFE_ID, line]).entries).toEqual([]);
  });

  it('a selector of a type that no attestor makes', () => {
    expect(problemsOf([ID, SPIFFE_ID, 'selectors: [ "unix:uid:1", "dokcer:label:a:b", "spire:x" ]'])).toEqual([
      'e.yaml:4:32 entries[0].selectors[1] has the unknown type dokcer; did you mean docker?',
      'e.yaml:4:52 entries[0].selectors[2] has the unknown type spire; allowed are unix, docker, k8s',
    ]);
  });

  it('no owner, where one is required', () => {
    expect(problemsOf([ID, SPIFFE_ID, SELECTORS], { requireOwner: true })).toEqual([
      'e.yaml:2:5 entries[0] has no owner, and require_owner is set; add owner: with who answers for this identity',
    ]);
    expect(problemsOf([ID, SPIFFE_ID, SELECTORS, 'owner: me'], { requireOwner: true })).toEqual([]);
  });

  it('that it federates with its own trust domain', () => {
    expect(problemsOf([ID, SPIFFE_ID, SELECTORS, 'federates_with: [ other.org, example.org ]'])).toEqual([
      expect.stringContaining('entries[0].federates_with[1] is the own trust domain'),
    ]);
  });
});

describe('what an entry probably does not mean', () => {
  const surroundings = {
    vocabulary: unixVocabulary({ path: false, sha256: false }),
    federated: new Set([parseTrustDomain('known.org')]),
    now: Date.UTC(2026, 0, 1),
  };

  it('is told with its place', () => {
    const doubtful = entryOf('a', ['unix:uid:1', 'unix:path:/bin/a'], {
      federatesWith: [parseTrustDomain('known.org'), parseTrustDomain('unknown.org')],
      expiresAt: surroundings.now,
    });
    expect(entryWarnings([entryOf('fine', ['unix:uid:1']), doubtful], surroundings)).toEqual([
      'a.yaml:1: entry a: no process can match it: "unix:path:/bin/a" never matches: attestors.unix.path is false',
      'a.yaml:1: entry a: it federates with unknown.org, whose bundle nobody gets: bundles has no file for that trust domain',
      'a.yaml:1: entry a: it has expired at 2026-01-01T00:00:00.000Z and gives nobody an identity',
    ]);
  });

  it('is told of a template whose values nobody says', () => {
    const template = templateOf('id: t', 'spiffe_id: "spiffe://example.org/{{unix.sha256}}"');
    expect(entryWarnings([template], surroundings)).toEqual([
      't.yaml:2: entry t: no process can match it: {{unix.sha256}} never matches: attestors.unix.sha256 is false',
    ]);
  });

  it('is told of a selector with what looks like a placeholder, which some label may have all the same', () => {
    expect(entryWarnings([entryOf('a', ['unix:user:{{unix.user}}'])], surroundings)).toEqual([
      'a.yaml:1: entry a: "unix:user:{{unix.user}}" asks for these very braces: only spiffe_id and dns_names may have placeholders',
    ]);
  });

  it('is told of an identity that a template gives to more than its entry asks for', () => {
    const template = templateOf('id: users', 'spiffe_id: "spiffe://example.org/{{unix.user}}"');
    const entries = [
      template,
      entryOf('payments', ['unix:uid:1000']),
      entryOf('reports', ['unix:user:reports']),
      entryOf('mail', ['unix:user:mail', 'unix:path:/usr/bin/mail']),
    ];
    const says = { ...surroundings, vocabulary: unixVocabulary({ path: true, sha256: false }) };
    expect(entryWarnings(entries, says)).toEqual([
      'payments.yaml:1: entry payments: the template users gives spiffe://example.org/payments to every process with unix:user:payments, whatever else this entry asks for',
      'mail.yaml:1: entry mail: the template users gives spiffe://example.org/mail to every process with unix:user:mail, whatever else this entry asks for',
    ]);
  });

  it('is told fifty times at most', () => {
    const entries = Array.from({ length: 60 }, (_, at) => entryOf(`e${at}`, ['unix:path:/bin/a']));
    const told = entryWarnings(entries, surroundings);
    expect(told).toHaveLength(51);
    expect(told.at(-1)).toBe('and 10 more warnings about entries');
  });
});
