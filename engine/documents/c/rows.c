/* Rows in CSV, cut into columns of text.
 *
 * Invariant: what comes out is what a parser gives for which an unquoted empty field is null. Odd is what isn't printed
 * as PostgreSQL prints it (a quote or a return in an unquoted field, another number of fields), and a quote in a quoted
 * one; and no rows at all. Characters aren't looked into: which columns have more than ASCII is told.
 */
#include "walk.h"

enum { SLACK = 16, NOTHING = -1 }; /* short fields are copied in one piece of so many bytes */

/* Where a field's text begins, and its length, or NOTHING. */
typedef struct {
    int32_t at, length;
} Field;

/* What a column needs, and what is made of it. */
typedef struct {
    int64_t length, nulls;
    uint64_t signs; /* all its bytes, one over the other */
    PyObject *text, *where, *validity;
    uint8_t *start, *to, *offsets, *valid;
} Cut;

typedef struct {
    const uint8_t *text;
    Reading in;
    uint8_t delimiter, quote;
    Py_ssize_t columns;
    Cut *cuts;
    Writing fields;
} Rows;

static uint64_t bytes_like(uint64_t word, uint8_t sign) {
    return ZERO_BYTES(word ^ EACH_BYTE(sign));
}

/* Find what ends an unquoted field, or may not stand in one. Returns 0 where there is nothing. */
static int pass_plain(const Rows *rows, Reading *in, uint64_t *signs) {
    uint8_t delimiter = rows->delimiter, quote = rows->quote;
    for (; in->end - in->at >= 8; in->at += 8) {
        uint64_t word = eight_bytes(in->at);
        uint64_t found = bytes_like(word, delimiter) | bytes_like(word, quote);
        found |= bytes_like(word, '\n') | bytes_like(word, '\r');
        *signs |= word;
        if (!found) continue;
        in->at += __builtin_ctzll(found) >> 3;
        return 1;
    }
    for (; in->at < in->end; in->at++) {
        uint8_t sign = *in->at;
        if (sign == delimiter || sign == quote || sign == '\n' || sign == '\r') return 1;
        *signs |= sign;
    }
    return 0;
}

/* Find the next quote. Returns 0 where there is none. */
static int pass_quoted(const Rows *rows, Reading *in, uint64_t *signs) {
    for (; in->end - in->at >= 8; in->at += 8) {
        uint64_t word = eight_bytes(in->at), found = bytes_like(word, rows->quote);
        *signs |= word;
        if (!found) continue;
        in->at += __builtin_ctzll(found) >> 3;
        return 1;
    }
    for (; in->at < in->end; in->at++) {
        if (*in->at == rows->quote) return 1;
        *signs |= *in->at;
    }
    return 0;
}

/* Find a field, and pass over the sign that ends it. Returns 0 for odd. */
static int find_field(Rows *rows, Cut *cut, Field *field, uint8_t ending) {
    Reading *in = &rows->in;
    int is_quoted = in->at < in->end && *in->at == rows->quote;
    const uint8_t *begin = in->at += is_quoted;
    if (!(is_quoted ? pass_quoted : pass_plain)(rows, in, &cut->signs)) return 0;
    int32_t length = (int32_t)(in->at - begin);
    in->at += is_quoted;
    if (in->at >= in->end || *in->at++ != ending) return 0;
    *field = (Field){(int32_t)(begin - rows->text), length || is_quoted ? length : NOTHING};
    if (field->length == NOTHING) cut->nulls++;
    else cut->length += length;
    return 1;
}

/* Find all fields. Returns 0 for odd. */
static int find_fields(Rows *rows) {
    Writing *fields = &rows->fields;
    size_t row_bytes = (size_t)rows->columns * sizeof(Field);
    while (rows->in.at < rows->in.end) {
        if ((size_t)(fields->limit - fields->at) < row_bytes && !grow(fields, row_bytes)) return 0;
        for (Py_ssize_t column = 0; column < rows->columns; column++, fields->at += sizeof(Field)) {
            Field *field = (Field *)(void *)fields->at;
            uint8_t ending = column + 1 < rows->columns ? rows->delimiter : '\n';
            if (!find_field(rows, &rows->cuts[column], field, ending)) return 0;
        }
    }
    return 1;
}

static void copy_field(const Rows *rows, const Field *field, uint8_t *to) {
    const uint8_t *from = rows->text + field->at;
    if (field->length <= SLACK && rows->in.end - from >= SLACK) memcpy(to, from, SLACK);
    else memcpy(to, from, (size_t)field->length);
}

static void copy_fields(Rows *rows, Py_ssize_t count) {
    const Field *field = (const Field *)(const void *)rows->fields.start;
    for (Py_ssize_t row = 0; row < count; row++) {
        for (Cut *cut = rows->cuts; cut < rows->cuts + rows->columns; cut++, field++) {
            int32_t where = (int32_t)(cut->to - cut->start);
            memcpy(cut->offsets + row * 4, &where, 4);
            if (field->length == NOTHING) continue;
            copy_field(rows, field, cut->to);
            cut->to += field->length;
            if (cut->valid) cut->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
        }
    }
    for (Cut *cut = rows->cuts; cut < rows->cuts + rows->columns; cut++) {
        int32_t where = (int32_t)(cut->to - cut->start);
        memcpy(cut->offsets + count * 4, &where, 4);
        memset(cut->to, 0, SLACK);
    }
}

static uint8_t *bytes_for(PyObject **made, Py_ssize_t size) {
    *made = PyBytes_FromStringAndSize(NULL, size);
    return *made ? (uint8_t *)PyBytes_AsString(*made) : NULL; /* nobody else knows of it yet */
}

/* Make what a column is written to. Returns 0 with an exception. */
static int make_room(Cut *cut, Py_ssize_t count) {
    cut->start = cut->to = bytes_for(&cut->text, cut->length + SLACK);
    cut->offsets = cut->start ? bytes_for(&cut->where, (count + 1) * 4) : NULL;
    if (!cut->offsets || !cut->nulls) return !!cut->offsets;
    cut->valid = bytes_for(&cut->validity, (count + 7) / 8);
    if (cut->valid) memset(cut->valid, 0, (size_t)(count + 7) / 8);
    return !!cut->valid;
}

static PyObject *columns_of(Rows *rows) {
    Py_ssize_t count = (rows->fields.at - rows->fields.start) / (rows->columns * (Py_ssize_t)sizeof(Field));
    PyObject *result = PyTuple_New(rows->columns);
    for (Py_ssize_t i = 0; result && i < rows->columns; i++)
        if (!make_room(&rows->cuts[i], count)) Py_CLEAR(result);
    if (!result) return NULL;
    Py_BEGIN_ALLOW_THREADS
    copy_fields(rows, count);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t i = 0; result && i < rows->columns; i++) {
        const Cut *cut = &rows->cuts[i];
        PyObject *validity = cut->validity ? cut->validity : Py_None;
        int is_wide = (cut->signs & HIGH_BITS) != 0;
        PyObject *column = Py_BuildValue("OOOni", cut->text, cut->where, validity, (Py_ssize_t)cut->nulls, is_wide);
        if (!column || PyTuple_SetItem(result, i, column)) Py_CLEAR(result);
    }
    return result;
}

/* rows(text, delimiter and quote, count of columns) -> for each column (text, offsets, validity or None, count of nulls, whether there is
 * more than ASCII), or None. */
PyObject *csv_rows(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer text;
    Rows rows;
    memset(&rows, 0, sizeof rows);
    const char *signs;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(arguments, "y*y#n", &text, &signs, &count, &rows.columns)) return NULL;
    PyObject *result = NULL;
    rows.text = text.buf;
    rows.in = (Reading){rows.text, rows.text + text.len};
    if (rows.columns < 1 || count != 2) PyErr_SetString(PyExc_ValueError, "two signs and a column are wanted");
    else if (!(rows.cuts = calloc((size_t)rows.columns, sizeof(Cut)))) PyErr_NoMemory();
    else {
        int is_cut;
        rows.delimiter = (uint8_t)signs[0];
        rows.quote = (uint8_t)signs[1];
        Py_BEGIN_ALLOW_THREADS
        is_cut = text.len > 0 && text.len <= INT32_MAX && find_fields(&rows);
        Py_END_ALLOW_THREADS
        result = rows.fields.failed ? PyErr_NoMemory() : is_cut ? columns_of(&rows) : Py_BuildValue("");
    }
    for (Py_ssize_t i = 0; rows.cuts && i < rows.columns; i++) {
        Py_XDECREF(rows.cuts[i].text);
        Py_XDECREF(rows.cuts[i].where);
        Py_XDECREF(rows.cuts[i].validity);
    }
    free(rows.cuts);
    free(rows.fields.start);
    PyBuffer_Release(&text);
    return result;
}
