/* What the walks share: a target's words and limits, the bytes that are read, the text that is written.
 *
 * Invariant: nothing is read at `end` or behind it, and nothing is written without room: whoever writes a token
 * calls `roomy` before it, which leaves ROOM_PER_TOKEN beside one byte for each that is still to be read. What a
 * walk can't do exactly as Python does, it calls odd, and leaves no trace of it. Nothing is decided here: every
 * word, size and limit is handed in.
 */
#ifndef WALK_H
#define WALK_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORD_MAX = 16,         /* bytes of a word; words are copied whole, so that their length needs no branch */
    LEVELS_LIMIT = 256,    /* the most levels that can be asked for */
    DIGITS_LIMIT = 64,     /* the longest numbers that can be asked for */
    ROOM_PER_TOKEN = 512   /* words, a number, and what copies of 8 and 16 bytes write too much */
};

typedef struct {
    uint8_t text[WORD_MAX];
    size_t length;
} Word;

typedef struct {
    Word before, after;
} Affix;

/* A target's notation and limits, as engine.documents.walking hands them in. */
typedef struct {
    Affix string, number, binary, boolean, list, map;
    Word null;
    int64_t null_size, boolean_size, container_size, element_size;
    int64_t number_size_max, magnitude_min, magnitude_max;
    int64_t digits_max, plain_length_max, levels_max;
    int64_t copied_max; /* a decimal without exponent that is no longer is its own shortest text */
    int nameless;       /* whether a member may have the empty name */
} Notation;

typedef struct {
    const uint8_t *at, *end;
} Reading;

typedef struct {
    uint8_t *start, *at, *limit;
    int failed; /* no memory: all is given up */
} Writing;

typedef struct {
    int64_t size;
    int32_t depth;
} Measure;

/* Where a name stands, counted from a place that is handed in; its hash once that is asked for. */
typedef struct {
    size_t at;
    uint64_t length_or_hash;
} Name;

typedef struct {
    Name *list;
    size_t used, room;
} Names;

/* What became of a row: written, left to Python, or null. */
typedef enum { FINE = 0, ODD = 1, ABSENT = 2 } Code;

/* A column of Arrow strings, as Python hands it over. */
typedef struct {
    Py_buffer data, offsets, validity;
    Py_ssize_t first, rows;
} Column;

/* What walks one row; the harness takes back what an odd or absent one has written. */
typedef Code (*Step)(void *state, Reading *in, Writing *out, Measure *measure);

/* Take (data, offsets, validity or None, first, rows, notation[, more]) apart. Returns 0 with an exception; else
 * column_done has to be called. */
int column_from(PyObject *arguments, Column *column, PyObject **notation, PyObject **more);
void column_done(Column *column);

/* Find a row's bytes. Returns 0 where it is null, -1 where its offsets lie outside the data. */
int column_row(const Column *column, Py_ssize_t row, Reading *in);

/* Walk all rows; returns (text, offsets, sizes, depths, codes), or None when the text is too long. */
PyObject *column_walked(const Column *column, Step step, void *state);

/* Fill a Notation from Python's tuple. Returns 0 with an exception. */
int notation_from(PyObject *given, Notation *notation);

/* Make room for at least so many bytes. Returns 0 when there is no memory. */
int grow(Writing *out, size_t wanted);

/* Pass over a string from its first quote to behind its last; says whether a backslash stands in it. */
int pass_string(Reading *in, int *has_escapes);

/* Write the number that is read next, and count it. Returns 0 for odd. */
int walk_number(const Notation *notation, Reading *in, Writing *out, Measure *measure);

/* Write digits times ten to the exponent, neither the first nor the last of them a zero; none are zero. Returns
 * what that counts, 0 for odd. */
int64_t walk_digits(const Notation *notation, Writing *out, int negative, const uint8_t *digits, int64_t count,
                    int64_t exponent);

/* Write one ASCII sign as it stands in a JSON string. */
void walk_ascii(Writing *out, uint8_t sign);

/* Write what stands behind a backslash as orjson would; returns the bytes that it counts, 0 for odd. */
int walk_escape(Reading *in, Writing *out);

/* Copy one character of two to four bytes. Returns 0 where it isn't UTF-8. */
int walk_wide(Reading *in, Writing *out);

/* Note a name. Returns 0 when there is no memory. */
int names_note(Names *names, size_t at, uint64_t length);

/* Whether two names from the first one on may be the same; no other question may follow. */
int names_may_repeat(const Names *names, size_t first, const uint8_t *base);

uint64_t hash_of(const uint8_t *at, uint64_t length);

PyObject *bson_starts(PyObject *module, PyObject *arguments);
PyObject *bson_columns(PyObject *module, PyObject *arguments);
PyObject *json_documents(PyObject *module, PyObject *arguments);
PyObject *json_members(PyObject *module, PyObject *arguments);
PyObject *csv_rows(PyObject *module, PyObject *arguments);
PyObject *wire_texts(PyObject *module, PyObject *arguments);
PyObject *wire_part(PyObject *module, PyObject *arguments);
PyObject *wire_elements(PyObject *module, PyObject *arguments);

static inline int roomy(Writing *out, const Reading *in) {
    size_t wanted = (size_t)(in->end - in->at) + ROOM_PER_TOKEN;
    return (size_t)(out->limit - out->at) >= wanted || grow(out, wanted);
}

/* Write some bytes, for which room is made. Returns 0 when there is no memory. */
static inline int append(Writing *out, const void *value, size_t size) {
    if ((size_t)(out->limit - out->at) < size && !grow(out, size)) return 0;
    memcpy(out->at, value, size);
    out->at += size;
    return 1;
}

static inline PyObject *bytes_of(const Writing *out) {
    return PyBytes_FromStringAndSize((const char *)out->start, out->at - out->start);
}

static inline void put(Writing *out, const Word *word) {
    memcpy(out->at, word->text, WORD_MAX);
    out->at += word->length;
}

static inline void put_byte(Writing *out, uint8_t byte) {
    *out->at++ = byte;
}

static inline void deepen(Measure *measure, int32_t depth) {
    if (depth > measure->depth) measure->depth = depth;
}

static inline void skip_blanks(Reading *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r')) in->at++;
}

static inline int is_digit(uint8_t sign) {
    return (uint8_t)(sign - '0') < 10;
}

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))
#define HIGH_BITS EACH_BYTE(0x80)
#define ZERO_BYTES(word) (((word) - EACH_BYTE(1)) & ~(word) & HIGH_BITS)

/* Eight bytes, the first of them the lowest. */
static inline uint64_t eight_bytes(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline int is_special(uint8_t byte) {
    return byte == '"' || byte == '\\' || byte < 0x20 || byte >= 0x80;
}

/* Copy up to the next quote, backslash, control sign or part of a wider character. Returns 0 at the end.
 * Of the bits that are found, the lowest is always right: what a borrow adds lies above it. */
static inline int copy_plain(Reading *in, Writing *out) {
    while (in->end - in->at >= 8) {
        uint64_t word = eight_bytes(in->at);
        uint64_t special = ZERO_BYTES(word ^ EACH_BYTE('"')) | ZERO_BYTES(word ^ EACH_BYTE('\\'));
        special |= ((word - EACH_BYTE(0x20)) | word) & HIGH_BITS;
        memcpy(out->at, in->at, 8);
        size_t plain = special ? (size_t)__builtin_ctzll(special) >> 3 : 8;
        in->at += plain;
        out->at += plain;
        if (special) return 1;
    }
    for (; in->at < in->end; in->at++) {
        if (is_special(*in->at)) return 1;
        put_byte(out, *in->at);
    }
    return 0;
}

/* Copy a string from behind its first quote up to and with its last, spelled as orjson spells it. Returns the
 * bytes that it counts, -1 for odd. It never takes more room than it had. */
static inline int64_t walk_string(Reading *in, Writing *out) {
    int64_t size = 0;
    for (;;) {
        const uint8_t *begin = in->at;
        if (!copy_plain(in, out)) return -1;
        uint8_t byte = *in->at;
        if (byte >= 0x80 && !walk_wide(in, out)) return -1;
        size += in->at - begin;
        if (byte >= 0x80) continue;
        if (byte < 0x20) return -1;
        in->at++;
        if (byte == '"') {
            put_byte(out, '"');
            return size;
        }
        int counted = walk_escape(in, out);
        if (!counted) return -1;
        size += counted;
    }
}

#endif
