import type { JsonObject } from '@bufbuild/protobuf';
import { MayflyError } from '../kernel/errors.ts';

// A level of JSON is two or three of messages, and clients refuse what is nested a hundred messages deep.
const MOST_LEVELS = 32;

/** The claims of a token as a message has them. @throws MayflyError `TOKEN_INVALID` for those that no client could read */
export function claimsMessage(claims: Readonly<Record<string, unknown>>): JsonObject {
  if (isDeeper(claims, MOST_LEVELS)) {
    throw new MayflyError('TOKEN_INVALID', `token has claims nested more than ${MOST_LEVELS} levels deep`);
  }
  return claims as JsonObject;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
