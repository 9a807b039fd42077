/* JSON texts as documents in a target's notation, in one pass.
 *
 * Invariant: a text that isn't called odd is JSON without a flaw, and what is written says the same, byte for byte
 * what the codec's own walk over it writes. Odd is whatever has a flaw, or may have one: no JSON, a name that
 * stands twice, numbers out of range, too many levels, half surrogates, bytes that are no UTF-8.
 */
#include "walk.h"

typedef enum { SCALAR, OPENED, REFUSED } Found;

typedef struct {
    int is_map, ascending;
    size_t first_name;
} Level;

typedef struct {
    const Notation *notation;
    Reading *in;
    Writing *out;
    Measure *measure;
    int level;
    Level open[LEVELS_LIMIT];
    Names names; /* of all objects that are open, the innermost's last; where they stand in what is written */
} Walk;

static int name_comes_later(const Walk *walk, const Name *before, size_t at, uint64_t length) {
    if (before->length_or_hash != length) return before->length_or_hash < length;
    return memcmp(walk->out->start + before->at, walk->out->start + at, length) < 0;
}

/* Note the name that was written last. jsonb's stand by length, then by bytes: as long as they do, none stands
 * twice, and no hash is needed. */
static int note_name(Walk *walk, size_t at) {
    Level *level = &walk->open[walk->level - 1];
    const Names *names = &walk->names;
    uint64_t length = (size_t)(walk->out->at - walk->out->start) - 1 - at;
    if (level->ascending && names->used > level->first_name)
        level->ascending = name_comes_later(walk, &names->list[names->used - 1], at, length);
    if (names_note(&walk->names, at, length)) return 1;
    walk->out->failed = 1;
    return 0;
}

/* A member's name and its colon. Returns 0 for odd. */
static int member(Walk *walk) {
    Reading *in = walk->in;
    skip_blanks(in);
    if (in->at >= in->end || *in->at != '"' || !roomy(walk->out, in)) return 0;
    in->at++;
    put_byte(walk->out, '"');
    size_t at = (size_t)(walk->out->at - walk->out->start);
    int64_t size = walk_string(in, walk->out);
    if (size < 0 || (!size && !walk->notation->nameless) || !note_name(walk, at)) return 0;
    walk->measure->size += size + walk->notation->element_size;
    skip_blanks(in);
    if (in->at >= in->end || *in->at != ':') return 0;
    in->at++;
    put_byte(walk->out, ':');
    return 1;
}

static Found literal(Walk *walk, const char *text, Py_ssize_t length) {
    Reading *in = walk->in;
    if (in->end - in->at < length || memcmp(in->at, text, (size_t)length)) return REFUSED;
    in->at += length;
    const Notation *notation = walk->notation;
    if (*text == 'n') {
        put(walk->out, &notation->null);
        walk->measure->size += notation->null_size;
        return SCALAR;
    }
    put(walk->out, &notation->boolean.before);
    memcpy(walk->out->at, text, (size_t)length);
    walk->out->at += length;
    put(walk->out, &notation->boolean.after);
    walk->measure->size += notation->boolean_size;
    return SCALAR;
}

static Found container(Walk *walk, int is_map) {
    Reading *in = walk->in;
    const Affix *affix = is_map ? &walk->notation->map : &walk->notation->list;
    if (walk->level >= walk->notation->levels_max) return REFUSED;
    walk->measure->size += walk->notation->container_size;
    in->at++;
    put(walk->out, &affix->before);
    skip_blanks(in);
    if (in->at >= in->end) return REFUSED;
    if (*in->at == (is_map ? '}' : ']')) {
        in->at++;
        put(walk->out, &affix->after);
        deepen(walk->measure, walk->level);
        return SCALAR;
    }
    walk->open[walk->level++] = (Level){is_map, 1, walk->names.used};
    deepen(walk->measure, walk->level);
    if (is_map) return member(walk) ? OPENED : REFUSED;
    walk->measure->size += walk->notation->element_size;
    return OPENED;
}

static Found value(Walk *walk) {
    Reading *in = walk->in;
    skip_blanks(in);
    if (in->at >= in->end || !roomy(walk->out, in)) return REFUSED;
    switch (*in->at) {
    case '"': {
        in->at++;
        put(walk->out, &walk->notation->string.before);
        put_byte(walk->out, '"');
        int64_t size = walk_string(in, walk->out);
        if (size < 0) return REFUSED;
        walk->measure->size += size;
        put(walk->out, &walk->notation->string.after);
        return SCALAR;
    }
    case '{': return container(walk, 1);
    case '[': return container(walk, 0);
    case 't': return literal(walk, "true", 4);
    case 'f': return literal(walk, "false", 5);
    case 'n': return literal(walk, "null", 4);
    default: return walk_number(walk->notation, in, walk->out, walk->measure) ? SCALAR : REFUSED;
    }
}

/* What follows a value: containers that end here, then the text's end or the next value. Returns 0 for odd. */
static int follow(Walk *walk, int *is_whole) {
    Reading *in = walk->in;
    for (;;) {
        skip_blanks(in);
        *is_whole = !walk->level;
        if (!walk->level) return in->at == in->end;
        if (in->at >= in->end || !roomy(walk->out, in)) return 0;
        Level *level = &walk->open[walk->level - 1];
        uint8_t sign = *in->at++;
        if (sign == ',') {
            put_byte(walk->out, ',');
            if (level->is_map) return member(walk);
            walk->measure->size += walk->notation->element_size;
            return 1;
        }
        if (sign != (level->is_map ? '}' : ']')) return 0;
        if (!level->ascending && names_may_repeat(&walk->names, level->first_name, walk->out->start)) return 0;
        put(walk->out, level->is_map ? &walk->notation->map.after : &walk->notation->list.after);
        walk->names.used = level->first_name;
        walk->level--;
    }
}

static Code document(void *state, Reading *in, Writing *out, Measure *measure) {
    Walk *walk = state;
    walk->in = in;
    walk->out = out;
    walk->measure = measure;
    walk->level = 0;
    walk->names.used = 0;
    for (int is_whole = 0; !is_whole;) {
        Found found = value(walk);
        if (found == REFUSED) return ODD;
        if (found == SCALAR && !follow(walk, &is_whole)) return ODD;
    }
    return FINE;
}

/* documents(data, offsets, validity or None, first, rows, notation) -> (text, offsets, sizes, depths, codes), or
 * None when the text is too long for Arrow's offsets. */
PyObject *json_documents(PyObject *module, PyObject *arguments) {
    (void)module;
    Column column;
    Notation notation;
    PyObject *given, *result = NULL;
    if (!column_from(arguments, &column, &given, NULL)) return NULL;
    Walk *walk = calloc(1, sizeof(Walk));
    if (!walk) PyErr_NoMemory();
    else if (notation_from(given, &notation)) {
        walk->notation = &notation;
        result = column_walked(&column, document, walk);
    }
    if (walk) free(walk->names.list);
    free(walk);
    column_done(&column);
    return result;
}
