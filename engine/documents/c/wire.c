/* Written documents cut into pieces: what a path leads to, and the elements of a list.
 *
 * Invariant: a piece is byte for byte what stands there, which is what the codec would print, and is counted as the
 * codec counts it; what is spelled or counted in another way, as sets are, is odd. Values that no path leads to are
 * passed over: written documents are JSON, and their brackets match.
 */
#include "walk.h"

static int starts(const Reading *in, const Word *word) {
    return (size_t)(in->end - in->at) >= word->length && !memcmp(in->at, word->text, word->length);
}

/* Pass over a word where it stands. */
static int take(Reading *in, const Word *word) {
    if (!starts(in, word)) return 0;
    in->at += word->length;
    return 1;
}

int pass_string(Reading *in, int *has_escapes) {
    *has_escapes = 0;
    for (in->at++; in->at < in->end;) {
        while (in->end - in->at >= 8) {
            uint64_t word = eight_bytes(in->at);
            uint64_t special = ZERO_BYTES(word ^ EACH_BYTE('"')) | ZERO_BYTES(word ^ EACH_BYTE('\\'));
            in->at += special ? __builtin_ctzll(special) >> 3 : 8;
            if (special) break;
        }
        if (in->at == in->end) return 0;
        uint8_t byte = *in->at++;
        if (byte == '"') return 1;
        if (byte != '\\') continue;
        *has_escapes = 1;
        if (in->at++ == in->end) return 0;
    }
    return 0;
}

static int pass_value(Reading *in) {
    int ignored;
    for (size_t level = 0; in->at < in->end;) {
        switch (*in->at) {
        case '"':
            if (!pass_string(in, &ignored)) return 0;
            if (!level) return 1;
            break;
        case '{': case '[':
            in->at++;
            level++;
            break;
        case '}': case ']':
            if (!level) return 1;
            in->at++;
            if (!--level) return 1;
            break;
        case ',':
            if (!level) return 1;
            in->at++;
            break;
        default:
            in->at++;
        }
    }
    return 0;
}

typedef struct {
    const Notation *notation;
    Reading *in;
    Writing *out;
    Measure *measure;
    int level;
    uint8_t is_map[LEVELS_LIMIT];
} Cut;

typedef enum { SCALAR, OPENED, REFUSED } Found;

/* Copy a string with its quotes. */
static int64_t copy_string(Cut *cut) {
    if (cut->in->at >= cut->in->end || *cut->in->at != '"' || !roomy(cut->out, cut->in)) return -1;
    const uint8_t *begin = cut->in->at++;
    size_t at = (size_t)(cut->out->at - cut->out->start);
    put_byte(cut->out, '"');
    int64_t size = walk_string(cut->in, cut->out);
    if (size < 0) return -1;
    size_t length = (size_t)(cut->in->at - begin), written = (size_t)(cut->out->at - cut->out->start) - at;
    return length == written && !memcmp(begin, cut->out->start + at, length) ? size : -1;
}

static Found copy_number(Cut *cut) {
    const Word *before = &cut->notation->number.before, *after = &cut->notation->number.after;
    const uint8_t *begin = cut->in->at;
    size_t at = (size_t)(cut->out->at - cut->out->start) + before->length;
    if (!walk_number(cut->notation, cut->in, cut->out, cut->measure)) return REFUSED;
    size_t length = (size_t)(cut->in->at - begin);
    size_t written = (size_t)(cut->out->at - cut->out->start) - at - after->length;
    if (length != written || memcmp(begin, cut->out->start + at, length)) return REFUSED;
    return take(cut->in, after) ? SCALAR : REFUSED;
}

static Found copy_binary(Cut *cut) {
    const Affix *affix = &cut->notation->binary;
    const uint8_t *begin = cut->in->at, *end = memchr(begin, '"', (size_t)(cut->in->end - begin));
    if (!end) return REFUSED;
    int64_t length = end - begin, size = length / 4 * 3;
    for (int64_t i = 1; i <= 2 && i <= length; i++) size -= end[-i] == '=';
    if (memchr(begin, '\\', (size_t)length)) return REFUSED;
    put(cut->out, &affix->before);
    memcpy(cut->out->at, begin, (size_t)length);
    cut->out->at += length;
    put(cut->out, &affix->after);
    cut->in->at = end;
    cut->measure->size += size;
    return take(cut->in, &affix->after) ? SCALAR : REFUSED;
}

static Found copy_boolean(Cut *cut) {
    static const Word yes = {"true", 4}, no = {"false", 5};
    const Affix *affix = &cut->notation->boolean;
    const Word *word = starts(cut->in, &yes) ? &yes : &no;
    if (!take(cut->in, word) || !take(cut->in, &affix->after)) return REFUSED;
    put(cut->out, &affix->before);
    put(cut->out, word);
    put(cut->out, &affix->after);
    cut->measure->size += cut->notation->boolean_size;
    return SCALAR;
}

/* A member's name and its colon. */
static int copy_name(Cut *cut) {
    int64_t size = copy_string(cut);
    if (size < 0 || cut->in->at >= cut->in->end || *cut->in->at != ':') return 0;
    cut->in->at++;
    put_byte(cut->out, ':');
    cut->measure->size += size + cut->notation->element_size;
    return 1;
}

static Found copy_container(Cut *cut, const Affix *affix, int is_map) {
    if (cut->level >= LEVELS_LIMIT) return REFUSED;
    put(cut->out, &affix->before);
    cut->measure->size += cut->notation->container_size;
    if (take(cut->in, &affix->after)) {
        put(cut->out, &affix->after);
        deepen(cut->measure, cut->level);
        return SCALAR;
    }
    cut->is_map[cut->level++] = (uint8_t)is_map;
    deepen(cut->measure, cut->level);
    if (is_map) return copy_name(cut) ? OPENED : REFUSED;
    cut->measure->size += cut->notation->element_size;
    return OPENED;
}

static Found copy_value(Cut *cut) {
    const Notation *notation = cut->notation;
    Reading *in = cut->in;
    if (!roomy(cut->out, in)) return REFUSED;
    if (take(in, &notation->string.before)) {
        put(cut->out, &notation->string.before);
        int64_t size = copy_string(cut);
        if (size < 0 || !take(in, &notation->string.after)) return REFUSED;
        put(cut->out, &notation->string.after);
        cut->measure->size += size;
        return SCALAR;
    }
    if (take(in, &notation->number.before)) return copy_number(cut);
    if (take(in, &notation->map.before)) return copy_container(cut, &notation->map, 1);
    if (take(in, &notation->list.before)) return copy_container(cut, &notation->list, 0);
    if (take(in, &notation->boolean.before)) return copy_boolean(cut);
    if (take(in, &notation->binary.before)) return copy_binary(cut);
    if (!take(in, &notation->null)) return REFUSED;
    put(cut->out, &notation->null);
    cut->measure->size += notation->null_size;
    return SCALAR;
}

/* What follows a value: containers that end here, or the next value. */
static int copy_follow(Cut *cut) {
    while (cut->level) {
        int is_map = cut->is_map[cut->level - 1];
        if (cut->in->at >= cut->in->end || !roomy(cut->out, cut->in)) return 0;
        if (*cut->in->at == ',') {
            cut->in->at++;
            put_byte(cut->out, ',');
            if (is_map) return copy_name(cut);
            cut->measure->size += cut->notation->element_size;
            return 1;
        }
        const Word *after = is_map ? &cut->notation->map.after : &cut->notation->list.after;
        if (!take(cut->in, after)) return 0;
        put(cut->out, after);
        cut->level--;
    }
    return 1;
}

/* Copy one value, whatever stands in it. Returns 0 for odd. */
static int copy_whole(Cut *cut) {
    cut->level = 0;
    do {
        Found found = copy_value(cut);
        if (found == REFUSED) return 0;
        if (found == SCALAR && !copy_follow(cut)) return 0;
    } while (cut->level);
    return 1;
}

/* A path of member names, each spelled as it stands in a document, with its quotes. */
typedef struct {
    Cut cut;
    const uint8_t **names;
    size_t *lengths;
    Py_ssize_t count;
} Path;

/* What to say of a value that isn't the container that was wanted: nothing stands below it, if it is known. */
static Code nothing_below(const Notation *n, const Reading *in) {
    int is_scalar = starts(in, &n->string.before) || starts(in, &n->number.before) || starts(in, &n->null) ||
                    starts(in, &n->boolean.before) || starts(in, &n->binary.before);
    return is_scalar || starts(in, &n->map.before) || starts(in, &n->list.before) ? ABSENT : ODD;
}

/* Go to the value of a member. */
static Code go_below(const Notation *notation, Reading *in, const uint8_t *name, size_t length) {
    if (!take(in, &notation->map.before)) return nothing_below(notation, in);
    if (starts(in, &notation->map.after)) return ABSENT;
    for (;;) {
        int has_escapes;
        const uint8_t *begin = in->at;
        if (in->at >= in->end || *in->at != '"' || !pass_string(in, &has_escapes)) return ODD;
        int is_it = (size_t)(in->at - begin) == length && !memcmp(begin, name, length);
        if (has_escapes && !is_it) return ODD; /* it may be spelled in another way */
        if (in->at >= in->end || *in->at++ != ':') return ODD;
        if (is_it) return FINE;
        if (!pass_value(in) || in->at >= in->end) return ODD;
        if (*in->at != ',') return starts(in, &notation->map.after) ? ABSENT : ODD;
        in->at++;
    }
}

static Code part(void *state, Reading *in, Writing *out, Measure *measure) {
    Path *path = state;
    path->cut.in = in;
    path->cut.out = out;
    path->cut.measure = measure;
    for (Py_ssize_t i = 0; i < path->count; i++) {
        Code code = go_below(path->cut.notation, in, path->names[i], path->lengths[i]);
        if (code != FINE) return code;
    }
    return copy_whole(&path->cut) ? FINE : ODD;
}

/* A scalar's own text. Nothing is said of what has none, and what is spelled with a backslash is odd. */
static Code text(void *state, Reading *in, Writing *out, Measure *measure) {
    (void)measure;
    const Notation *n = state;
    const Affix *affixes[] = {&n->string, &n->number, &n->binary, &n->boolean};
    if (starts(in, &n->map.before) || starts(in, &n->list.before) || starts(in, &n->null)) return ABSENT;
    for (size_t i = 0; i < sizeof affixes / sizeof *affixes; i++) {
        const Affix *affix = affixes[i];
        if (!take(in, &affix->before)) continue;
        const uint8_t *end = in->end - affix->after.length;
        if (end < in->at || memcmp(end, affix->after.text, affix->after.length)) return ODD;
        if (affix == &n->string) {
            if (end - in->at < 2 || *in->at++ != '"' || *--end != '"') return ODD;
        }
        size_t length = (size_t)(end - in->at);
        if (memchr(in->at, '\\', length) || !roomy(out, in)) return ODD;
        memcpy(out->at, in->at, length);
        out->at += length;
        return FINE;
    }
    return ODD;
}

/* texts(data, offsets, validity or None, first, rows, notation) -> as documents() */
PyObject *wire_texts(PyObject *module, PyObject *arguments) {
    (void)module;
    Column column;
    Notation notation;
    PyObject *given, *result = NULL;
    if (!column_from(arguments, &column, &given, NULL)) return NULL;
    if (notation_from(given, &notation)) result = column_walked(&column, text, &notation);
    column_done(&column);
    return result;
}

static int path_from(PyObject *given, Path *path) {
    if (!PyTuple_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "a path is a tuple of names");
        return 0;
    }
    path->count = PyTuple_Size(given);
    path->names = calloc((size_t)path->count + 1, sizeof *path->names);
    path->lengths = calloc((size_t)path->count + 1, sizeof *path->lengths);
    if (!path->names || !path->lengths) {
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t i = 0; i < path->count; i++) {
        char *text;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(given, i), &text, &length)) return 0;
        path->names[i] = (const uint8_t *)text;
        path->lengths[i] = (size_t)length;
    }
    return 1;
}

/* part(data, offsets, validity or None, first, rows, notation, names) -> as documents() */
PyObject *wire_part(PyObject *module, PyObject *arguments) {
    (void)module;
    Column column;
    Notation notation;
    Path path = {0};
    PyObject *given, *names, *result = NULL;
    if (!column_from(arguments, &column, &given, &names)) return NULL;
    path.cut.notation = &notation;
    if (notation_from(given, &notation) && path_from(names, &path)) result = column_walked(&column, part, &path);
    free(path.names);
    free(path.lengths);
    column_done(&column);
    return result;
}

/* The elements of all lists, one after the other. */
typedef struct {
    Writing text, where, sizes, depths;
} Elements;

static int add_element(Elements *made, size_t begin, const Measure *measure) {
    int32_t where = (int32_t)begin;
    return append(&made->where, &where, 4) && append(&made->sizes, &measure->size, 8) &&
           append(&made->depths, &measure->depth, 4);
}

static Code split(Cut *cut, Elements *made) {
    const Affix *list = &cut->notation->list;
    if (!take(cut->in, &list->before)) return nothing_below(cut->notation, cut->in);
    if (take(cut->in, &list->after)) return cut->in->at == cut->in->end ? FINE : ODD;
    for (;;) {
        size_t begin = (size_t)(made->text.at - made->text.start);
        Measure measure = {0, 0};
        cut->measure = &measure;
        if (begin > INT32_MAX || !copy_whole(cut) || !add_element(made, begin, &measure)) return ODD;
        if (take(cut->in, &list->after)) return cut->in->at == cut->in->end ? FINE : ODD;
        if (cut->in->at >= cut->in->end || *cut->in->at++ != ',') return ODD;
    }
}

typedef struct {
    size_t text, where, sizes, depths;
} Mark;

static Mark mark_of(const Elements *made) {
    return (Mark){(size_t)(made->text.at - made->text.start), (size_t)(made->where.at - made->where.start),
                  (size_t)(made->sizes.at - made->sizes.start), (size_t)(made->depths.at - made->depths.start)};
}

static void back_to(Elements *made, Mark mark) {
    made->text.at = made->text.start + mark.text;
    made->where.at = made->where.start + mark.where;
    made->sizes.at = made->sizes.start + mark.sizes;
    made->depths.at = made->depths.start + mark.depths;
}

/* Returns NULL, or what is at fault. */
static const char *split_rows(const Column *column, Cut *cut, Elements *made, uint8_t *lists, uint8_t *codes) {
    if (!grow(&made->text, (size_t)column->data.len + ROOM_PER_TOKEN) || !grow(&made->where, 64) ||
        !grow(&made->sizes, 64) || !grow(&made->depths, 64))
        return "memory";
    cut->out = &made->text;
    for (Py_ssize_t row = 0; row <= column->rows; row++) {
        Mark mark = mark_of(made);
        int32_t begin = (int32_t)(mark.where / 4);
        memcpy(lists + row * 4, &begin, 4);
        if (row == column->rows) break;
        Reading in;
        int given = column_row(column, row, &in);
        if (given < 0) return "an offset lies outside the data";
        cut->in = &in;
        Code code = given ? split(cut, made) : ABSENT;
        if (made->text.failed || made->where.failed || made->sizes.failed || made->depths.failed) return "memory";
        if (code != FINE) back_to(made, mark);
        codes[row] = (uint8_t)code;
    }
    int32_t end = (int32_t)(made->text.at - made->text.start);
    if (made->text.at - made->text.start > INT32_MAX) return "length";
    return append(&made->where, &end, 4) ? NULL : "memory";
}

static PyObject *elements_packed(const Elements *made, PyObject *lists, PyObject *codes) {
    PyObject *text = bytes_of(&made->text), *where = bytes_of(&made->where), *sizes = bytes_of(&made->sizes);
    PyObject *depths = bytes_of(&made->depths), *result = NULL;
    if (text && where && sizes && depths) result = PyTuple_Pack(6, text, where, sizes, depths, lists, codes);
    Py_XDECREF(text);
    Py_XDECREF(where);
    Py_XDECREF(sizes);
    Py_XDECREF(depths);
    return result;
}

/* elements(data, offsets, validity or None, first, rows, notation) -> (text, offsets, sizes, depths of all elements,
 * offsets of lists, codes of rows), or None when the text is too long for Arrow's offsets. */
PyObject *wire_elements(PyObject *module, PyObject *arguments) {
    (void)module;
    Column column;
    Notation notation;
    Cut cut = {.notation = &notation};
    Elements made;
    memset(&made, 0, sizeof made);
    PyObject *given, *lists = NULL, *codes = NULL, *result = NULL;
    if (!column_from(arguments, &column, &given, NULL)) return NULL;
    if (!notation_from(given, &notation)) goto done;
    lists = PyBytes_FromStringAndSize(NULL, (column.rows + 1) * 4);
    codes = PyBytes_FromStringAndSize(NULL, column.rows);
    if (!lists || !codes) goto done;
    uint8_t *lists_at = (uint8_t *)PyBytes_AsString(lists), *codes_at = (uint8_t *)PyBytes_AsString(codes);
    const char *fault;
    Py_BEGIN_ALLOW_THREADS
    fault = split_rows(&column, &cut, &made, lists_at, codes_at);
    Py_END_ALLOW_THREADS
    if (!fault) result = elements_packed(&made, lists, codes);
    else if (!strcmp(fault, "memory")) PyErr_NoMemory();
    else if (!strcmp(fault, "length")) {
        Py_INCREF(Py_None);
        result = Py_None;
    } else PyErr_SetString(PyExc_ValueError, fault);
done:
    free(made.text.start);
    free(made.where.start);
    free(made.sizes.start);
    free(made.depths.start);
    Py_XDECREF(lists);
    Py_XDECREF(codes);
    column_done(&column);
    return result;
}
