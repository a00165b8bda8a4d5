import type { DescField, DescMessage, JsonObject, JsonValue, JsonWriteOptions, MessageShape } from '@bufbuild/protobuf';
import { ScalarType, toJson } from '@bufbuild/protobuf';

/**
 * A message as JSON with the names of its definition, every field present. Counts are numbers where protobuf's own JSON has strings
 * for 64 bits: none of them comes near 2^53.
 */
export function messageJson<M extends DescMessage>(schema: M, message: MessageShape<M>): JsonObject {
  const json: JsonValue = toJson<DescMessage, Partial<JsonWriteOptions>>(schema, message, {
    useProtoFieldName: true,
    alwaysEmitImplicit: true,
  });
  return withNumbers(schema, json as JsonObject);
}

const LONG: ReadonlySet<ScalarType> = new Set([ScalarType.INT64, ScalarType.UINT64]);

function withNumbers(schema: DescMessage, json: JsonObject): JsonObject {
  const entries = schema.fields
    .filter((field) => json[field.name] !== undefined)
    .map((field) => [field.name, fieldWithNumbers(field, json[field.name] ?? null)] as const);
  return Object.fromEntries(entries);
}

function fieldWithNumbers(field: DescField, value: JsonValue): JsonValue {
  switch (field.fieldKind) {
    case 'scalar':
      return LONG.has(field.scalar) ? Number(value) : value;
    case 'message':
      return messageWithNumbers(field.message, value);
    case 'list':
      return field.listKind === 'message'
        ? (value as JsonValue[]).map((element) => messageWithNumbers(field.message, element))
        : value;
    case 'map':
      return field.mapKind === 'scalar' && LONG.has(field.scalar)
        ? Object.fromEntries(Object.entries(value as JsonObject).map(([key, count]) => [key, Number(count)]))
        : value;
    case 'enum':
      return value;
    // Every kind stands above; the linter does not see that.
    default:
      return field satisfies never;
  }
}

/** Those of protobuf itself are no objects in JSON: a Timestamp is a string. */
function messageWithNumbers(schema: DescMessage, value: JsonValue): JsonValue {
  return schema.typeName.startsWith('google.protobuf.') ? value : withNumbers(schema, value as JsonObject);
}
