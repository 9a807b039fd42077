/* What the walk over BSON is made of: values (bson.c), numbers (bson_numbers.c), columns (bson_columns.c).
 *
 * Invariant: a value that is handed on lies wholly within its document, as its own length says.
 */
#ifndef BSON_H
#define BSON_H

#include "walk.h"

/* Source: https://bsonspec.org/spec.html */
enum {
    BSON_DOUBLE = 1, BSON_STRING, BSON_DOCUMENT, BSON_ARRAY, BSON_BINARY, BSON_UNDEFINED, BSON_OBJECT_ID, BSON_BOOL,
    BSON_DATE, BSON_NULL, BSON_REGEX, BSON_DB_POINTER, BSON_CODE, BSON_SYMBOL, BSON_CODE_WITH_SCOPE, BSON_INT32,
    BSON_TIMESTAMP, BSON_INT64, BSON_DECIMAL128, BSON_MAX_KEY = 0x7F, BSON_MIN_KEY = 0xFF,
    BINARY_GENERIC = 0, BINARY_OLD = 2, BINARY_UUID = 4, OBJECT_ID_SIZE = 12, UUID_SIZE = 16, DECIMAL128_SIZE = 16
};

/* An element: its type, its name, and the bytes of its value. */
typedef struct {
    uint8_t kind;
    const uint8_t *name;
    size_t length;
    Reading value;
} Element;

typedef struct {
    const Notation *notation;
    const uint8_t *base; /* from where names are counted */
    Names names;         /* of all documents that are open */
    int failed;          /* no memory for them */
} BsonWalk;

static inline int32_t bson_int32(const uint8_t *at) {
    return (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

static inline int64_t bson_int64(const uint8_t *at) {
    return (int64_t)eight_bytes(at);
}

/* Find a document's elements in its bytes, of which there may be more. Returns 0 for odd. */
int bson_open(const Reading *in, Reading *elements);

/* Read the next of some elements. Returns 0 for odd. */
int bson_next(Reading *elements, Element *found);

/* Write a value that lies within so many lists and maps. Returns 0 for odd. */
int bson_value(BsonWalk *walk, const Element *element, Writing *out, Measure *measure, int level);

/* Write a name, and count it. Returns 0 for odd. */
int bson_name(BsonWalk *walk, const Element *element, Writing *out, Measure *measure);

/* Write a number within its affixes, and count it. Returns 0 for odd. */
int bson_integer(const Notation *notation, int64_t value, Writing *out, Measure *measure);
int bson_double(const Notation *notation, const uint8_t *at, Writing *out, Measure *measure);
int bson_decimal(const Notation *notation, const uint8_t *at, Writing *out, Measure *measure);

#endif
