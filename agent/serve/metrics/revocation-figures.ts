import { timestampMs } from '@bufbuild/protobuf/wkt';
import { counter, gauge, group, seconds, truth } from './family.ts';

/** What is taken back, and what verifiers are told of it. */
export const revocationFigures = group(
  'Revocation',
  {
    mayfly_crl_given_out: gauge('Whether revocation lists are given out.'),
    mayfly_crl_certificates: gauge('Certificates on the lists.'),
    mayfly_crl_size_bytes: gauge('The size of the lists, together.'),
    mayfly_crl_size_limit_bytes: gauge('Their budget: revocation.max_bytes.'),
    mayfly_crl_next_update_timestamp_seconds: gauge('When the first of them would be out of date.'),
    mayfly_crl_publications_total: counter('How often lists were pushed to followers.'),
    mayfly_revocation_waiting_seconds: gauge(
      'For how long a revocation has waited that followers were not told of yet.',
    ),
    mayfly_denylist_tokens: gauge('JWT-SVIDs and WIT-SVIDs that are revoked and have not expired.'),
    mayfly_lifetimes_shortened: gauge('Entries, by age of their processes, that the budget shortens certificates of.'),
    mayfly_reissue_barred: gauge('Entries that a process is not given again, since an operator revoked them.'),
  },
  ({ revocation }) => {
    const status = revocation.status();
    const ends = status.lists.map(({ nextUpdate }) => seconds(timestampMs(nextUpdate)));
    return {
      mayfly_crl_given_out: truth(status.givenOut),
      mayfly_crl_certificates: status.certificates,
      mayfly_crl_size_bytes: Number(status.bytes),
      mayfly_crl_size_limit_bytes: Number(status.maxBytes),
      mayfly_crl_next_update_timestamp_seconds: ends.length === 0 ? undefined : Math.min(...ends),
      mayfly_crl_publications_total: Number(status.pushes),
      mayfly_revocation_waiting_seconds: seconds(revocation.waitingMs),
      mayfly_denylist_tokens: status.tokens,
      mayfly_lifetimes_shortened: status.lifetimes.length,
      mayfly_reissue_barred: status.barred,
    };
  },
);
