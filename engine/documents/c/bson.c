/* BSON values in a target's notation, in one pass.
 *
 * Invariant: a value that isn't called odd says what its bytes say, and is written and counted byte for byte as
 * connectors.mongodb.bson_values does. Odd is whatever has a flaw, or may have one, and every type that is written
 * as Extended JSON.
 */
#include "bson.h"

static const int64_t YEAR_1_MS = INT64_C(-62135596800000), YEAR_10000_MS = INT64_C(253402300800000);
static const int64_t DAY_MS = 86400000;

static inline size_t left_in(const Reading *in) {
    return (size_t)(in->end - in->at);
}

int bson_open(const Reading *in, Reading *elements) {
    if (left_in(in) < 5) return 0;
    int32_t length = bson_int32(in->at);
    if (length < 5 || (size_t)length > left_in(in) || in->at[length - 1]) return 0;
    *elements = (Reading){in->at + 4, in->at + length - 1};
    return 1;
}

/* How many bytes a value takes whose type always takes as many; -1 for others. */
static int fixed_size(uint8_t kind) {
    switch (kind) {
    case BSON_UNDEFINED: case BSON_NULL: case BSON_MAX_KEY: case BSON_MIN_KEY: return 0;
    case BSON_BOOL: return 1;
    case BSON_INT32: return 4;
    case BSON_DOUBLE: case BSON_DATE: case BSON_TIMESTAMP: case BSON_INT64: return 8;
    case BSON_OBJECT_ID: return OBJECT_ID_SIZE;
    case BSON_DECIMAL128: return DECIMAL128_SIZE;
    default: return -1;
    }
}

/* How many bytes a value takes, at least, beside those that its length says; -1 where it has none. */
static int beside_length(uint8_t kind) {
    switch (kind) {
    case BSON_DOCUMENT: case BSON_ARRAY: case BSON_CODE_WITH_SCOPE: return 0;
    case BSON_STRING: case BSON_CODE: case BSON_SYMBOL: return 4;
    case BSON_BINARY: return 5;
    case BSON_DB_POINTER: return 4 + OBJECT_ID_SIZE;
    default: return -1;
    }
}

static int pass_value(uint8_t kind, Reading *in) {
    int size = fixed_size(kind), beside = beside_length(kind);
    if (size >= 0) {
        if (left_in(in) < (size_t)size) return 0;
        in->at += size;
        return 1;
    }
    if (beside < 0 || left_in(in) < 4) return 0;
    int64_t length = bson_int32(in->at);
    if (length < (beside ? 0 : 5) || length + beside > (int64_t)left_in(in)) return 0;
    in->at += length + beside;
    return 1;
}

int bson_next(Reading *elements, Element *found) {
    found->kind = *elements->at++;
    found->name = elements->at;
    const uint8_t *stop = memchr(elements->at, 0, left_in(elements));
    if (!found->kind || !stop) return 0;
    found->length = (size_t)(stop - elements->at);
    elements->at = stop + 1;
    found->value.at = elements->at;
    if (!pass_value(found->kind, elements)) return 0;
    found->value.end = elements->at;
    return 1;
}

/* Write a text as a JSON string. Returns 0 where it isn't UTF-8. */
static int put_text(Writing *out, const uint8_t *at, size_t length) {
    Reading in = {at, at + length};
    if (!roomy(out, &in)) return 0;
    put_byte(out, '"');
    while (copy_plain(&in, out)) {
        if (*in.at >= 0x80) {
            if (!walk_wide(&in, out)) return 0;
            continue;
        }
        walk_ascii(out, *in.at++); /* takes up to six bytes */
        if (!roomy(out, &in)) return 0;
    }
    put_byte(out, '"');
    return 1;
}

static int put_string(BsonWalk *walk, const uint8_t *at, size_t length, Writing *out, Measure *measure) {
    put(out, &walk->notation->string.before);
    if (!put_text(out, at, length)) return 0;
    put(out, &walk->notation->string.after);
    measure->size += (int64_t)length;
    return 1;
}

int bson_name(BsonWalk *walk, const Element *element, Writing *out, Measure *measure) {
    measure->size += (int64_t)element->length;
    return (element->length || walk->notation->nameless) && put_text(out, element->name, element->length);
}

static void put_hex(Writing *out, const uint8_t *at, int count) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < count; i++) {
        put_byte(out, (uint8_t)digits[at[i] >> 4]);
        put_byte(out, (uint8_t)digits[at[i] & 15]);
    }
}

static void put_number(Writing *out, int64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--, value /= 10) out->at[i] = (uint8_t)('0' + value % 10);
    out->at += digits;
}

/* Days since 1970 as a date of the Gregorian calendar, counted in years that begin in March.
 * Source: https://howardhinnant.github.io/date_algorithms.html, civil_from_days */
static void put_day(Writing *out, int64_t days) {
    int64_t shifted = days + 719468, era = shifted / 146097, day = shifted % 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t of_year = day - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    put_number(out, year + era * 400 + (month >= 10), 4);
    put_byte(out, '-');
    put_number(out, month < 10 ? month + 3 : month - 9, 2);
    put_byte(out, '-');
    put_number(out, of_year - (153 * month + 2) / 5 + 1, 2);
}

static int put_date(BsonWalk *walk, int64_t ms, Writing *out, Measure *measure) {
    if (ms < YEAR_1_MS || ms >= YEAR_10000_MS) return 0;
    int64_t days = ms / DAY_MS, of_day = ms % DAY_MS;
    if (of_day < 0) {
        of_day += DAY_MS;
        days--;
    }
    put(out, &walk->notation->string.before);
    put_byte(out, '"');
    const uint8_t *begin = out->at;
    put_day(out, days);
    put_byte(out, 'T');
    put_number(out, of_day / 3600000, 2);
    put_byte(out, ':');
    put_number(out, of_day / 60000 % 60, 2);
    put_byte(out, ':');
    put_number(out, of_day / 1000 % 60, 2);
    if (of_day % 1000) {
        put_byte(out, '.');
        put_number(out, of_day % 1000, 3);
    }
    put_byte(out, 'Z');
    measure->size += out->at - begin;
    put_byte(out, '"');
    put(out, &walk->notation->string.after);
    return 1;
}

static void put_object_id(BsonWalk *walk, const uint8_t *at, Writing *out, Measure *measure) {
    put(out, &walk->notation->string.before);
    put_byte(out, '"');
    put_hex(out, at, OBJECT_ID_SIZE);
    put_byte(out, '"');
    put(out, &walk->notation->string.after);
    measure->size += 2 * OBJECT_ID_SIZE;
}

static void put_uuid(BsonWalk *walk, const uint8_t *at, Writing *out, Measure *measure) {
    static const int groups[] = {4, 2, 2, 2, 6};
    put(out, &walk->notation->string.before);
    put_byte(out, '"');
    for (int i = 0; i < 5; at += groups[i++]) {
        if (i) put_byte(out, '-');
        put_hex(out, at, groups[i]);
    }
    put_byte(out, '"');
    put(out, &walk->notation->string.after);
    measure->size += 2 * UUID_SIZE + 4;
}

static void put_base64(Writing *out, const uint8_t *at, size_t length) {
    static const char signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; length; at += 3) {
        size_t here = length < 3 ? length : 3;
        uint32_t bits = (uint32_t)at[0] << 16 | (here > 1 ? (uint32_t)at[1] << 8 : 0) | (here > 2 ? at[2] : 0);
        for (size_t i = 0; i < 4; i++)
            put_byte(out, i > here ? '=' : (uint8_t)signs[bits >> (18 - 6 * i) & 63]);
        length -= here;
    }
}

static void put_key(const char *name, Writing *out, Measure *measure) {
    put_byte(out, '"');
    for (; *name; name++, measure->size++) put_byte(out, (uint8_t)*name);
    put_byte(out, '"');
    put_byte(out, ':');
}

/* Begin a map of so many members, the first of this name: what no target knows is canonical Extended JSON.
 * Source: connectors.mongodb.extended */
static void put_first(BsonWalk *walk, const char *name, int members, Writing *out, Measure *measure) {
    put(out, &walk->notation->map.before);
    put_key(name, out, measure);
    measure->size += walk->notation->container_size + walk->notation->element_size * members;
}

static void put_extended_binary(BsonWalk *walk, uint8_t subtype, const uint8_t *content, size_t length, Writing *out,
                                Measure *measure) {
    put_first(walk, "$binary", 1, out, measure);
    put_first(walk, "base64", 2, out, measure);
    put(out, &walk->notation->string.before);
    put_byte(out, '"');
    put_base64(out, content, length);
    put_byte(out, '"');
    put(out, &walk->notation->string.after);
    put_byte(out, ',');
    put_key("subType", out, measure);
    put(out, &walk->notation->string.before);
    put_byte(out, '"');
    put_hex(out, &subtype, 1);
    put_byte(out, '"');
    put(out, &walk->notation->string.after);
    put(out, &walk->notation->map.after);
    put(out, &walk->notation->map.after);
    measure->size += (int64_t)((length + 2) / 3 * 4) + 2;
}

static int put_binary(BsonWalk *walk, const Reading *value, Writing *out, Measure *measure, int level) {
    const uint8_t *content = value->at + 5, subtype = value->at[4];
    size_t length = (size_t)(value->end - content);
    if (subtype == BINARY_UUID && length == UUID_SIZE) {
        put_uuid(walk, content, out, measure);
        return 1;
    }
    if (subtype == BINARY_OLD) return 0;
    if ((size_t)(out->limit - out->at) < length / 3 * 4 + ROOM_PER_TOKEN && !grow(out, length / 3 * 4 + ROOM_PER_TOKEN))
        return 0;
    if (subtype != BINARY_GENERIC) {
        put_extended_binary(walk, subtype, content, length, out, measure);
        deepen(measure, level + 2);
        return 1;
    }
    put(out, &walk->notation->binary.before);
    put_base64(out, content, length);
    put(out, &walk->notation->binary.after);
    measure->size += (int64_t)length;
    return 1;
}

static int put_timestamp(BsonWalk *walk, uint64_t value, Writing *out, Measure *measure, int level) {
    put_first(walk, "$timestamp", 1, out, measure);
    put_first(walk, "t", 2, out, measure);
    if (!bson_integer(walk->notation, (int64_t)(value >> 32), out, measure)) return 0;
    put_byte(out, ',');
    put_key("i", out, measure);
    if (!bson_integer(walk->notation, (int64_t)(value & UINT32_MAX), out, measure)) return 0;
    put(out, &walk->notation->map.after);
    put(out, &walk->notation->map.after);
    deepen(measure, level + 2);
    return 1;
}

static int put_boolean(BsonWalk *walk, int is_true, Writing *out, Measure *measure) {
    put(out, &walk->notation->boolean.before);
    for (const char *sign = is_true ? "true" : "false"; *sign; sign++) put_byte(out, (uint8_t)*sign);
    put(out, &walk->notation->boolean.after);
    measure->size += walk->notation->boolean_size;
    return 1;
}

/* A map that begins with a text called $ref may be a reference, which is written in another way. */
static int may_be_reference(const Element *first) {
    return first->kind == BSON_STRING && first->length == 4 && !memcmp(first->name, "$ref", 4);
}

static int put_member(BsonWalk *walk, const Element *member, Writing *out, Measure *measure) {
    if (!bson_name(walk, member, out, measure)) return 0;
    put_byte(out, ':');
    if (names_note(&walk->names, (size_t)(member->name - walk->base), member->length)) return 1;
    walk->failed = 1;
    return 0;
}

static int put_container(BsonWalk *walk, const Element *element, Writing *out, Measure *measure, int level) {
    int is_map = element->kind == BSON_DOCUMENT, count = 0;
    const Affix *affix = is_map ? &walk->notation->map : &walk->notation->list;
    size_t first_name = walk->names.used;
    Reading elements;
    Element found;
    if (level >= LEVELS_LIMIT || !bson_open(&element->value, &elements)) return 0;
    put(out, &affix->before);
    for (; elements.at < elements.end; count++) {
        if (!bson_next(&elements, &found)) return 0;
        if (count) put_byte(out, ',');
        if (is_map && ((!count && may_be_reference(&found)) || !put_member(walk, &found, out, measure))) return 0;
        if (!bson_value(walk, &found, out, measure, level + 1)) return 0;
    }
    if (is_map && count > 1 && names_may_repeat(&walk->names, first_name, walk->base)) return 0;
    walk->names.used = first_name;
    Reading none = {NULL, NULL};
    if (!roomy(out, &none)) return 0;
    put(out, &affix->after);
    measure->size += walk->notation->container_size + walk->notation->element_size * count;
    deepen(measure, level + (count > 0));
    return 1;
}

int bson_value(BsonWalk *walk, const Element *element, Writing *out, Measure *measure, int level) {
    static const Reading none = {NULL, NULL};
    const Reading *value = &element->value;
    if (!roomy(out, &none)) return 0;
    switch (element->kind) {
    case BSON_STRING: {
        size_t length = (size_t)(value->end - value->at);
        return length > 4 && put_string(walk, value->at + 4, length - 5, out, measure);
    }
    case BSON_INT32: return bson_integer(walk->notation, bson_int32(value->at), out, measure);
    case BSON_INT64: return bson_integer(walk->notation, bson_int64(value->at), out, measure);
    case BSON_DOUBLE: return bson_double(walk->notation, value->at, out, measure);
    case BSON_DECIMAL128: return bson_decimal(walk->notation, value->at, out, measure);
    case BSON_DOCUMENT: case BSON_ARRAY: return put_container(walk, element, out, measure, level);
    case BSON_DATE: return put_date(walk, bson_int64(value->at), out, measure);
    case BSON_BOOL: return put_boolean(walk, *value->at, out, measure);
    case BSON_BINARY: return put_binary(walk, value, out, measure, level);
    case BSON_TIMESTAMP: return put_timestamp(walk, eight_bytes(value->at), out, measure, level);
    case BSON_OBJECT_ID:
        put_object_id(walk, value->at, out, measure);
        return 1;
    case BSON_NULL:
        put(out, &walk->notation->null);
        measure->size += walk->notation->null_size;
        return 1;
    default: return 0;
    }
}
