/* A column as it comes from Arrow, walked row by row without the GIL, and the buffers that are made of it.
 *
 * Invariant: no offset is believed before it was compared with the data's length.
 */
#include "walk.h"

typedef enum { DONE, NO_MEMORY, BAD_OFFSET, TOO_LONG } Outcome;

static int fits(const Column *column) {
    Py_ssize_t offsets = column->offsets.len / 4;
    if (column->first < 0 || column->rows < 0 || column->first >= offsets) return 0;
    if (column->rows > offsets - 1 - column->first) return 0;
    return !column->validity.obj || (column->first + column->rows + 7) / 8 <= column->validity.len;
}

int column_from(PyObject *arguments, Column *column, PyObject **notation, PyObject **more) {
    PyObject *mask;
    memset(column, 0, sizeof *column);
    if (!(more ? PyArg_ParseTuple(arguments, "y*y*OnnOO", &column->data, &column->offsets, &mask, &column->first,
                                  &column->rows, notation, more)
               : PyArg_ParseTuple(arguments, "y*y*OnnO", &column->data, &column->offsets, &mask, &column->first,
                                  &column->rows, notation)))
        return 0;
    if (mask != Py_None && PyObject_GetBuffer(mask, &column->validity, PyBUF_SIMPLE)) {
        column_done(column);
        return 0;
    }
    if (fits(column)) return 1;
    PyErr_SetString(PyExc_ValueError, "the buffers are shorter than the rows");
    column_done(column);
    return 0;
}

void column_done(Column *column) {
    if (column->validity.obj) PyBuffer_Release(&column->validity);
    PyBuffer_Release(&column->data);
    PyBuffer_Release(&column->offsets);
}

int column_row(const Column *column, Py_ssize_t row, Reading *in) {
    Py_ssize_t at = column->first + row;
    const uint8_t *validity = column->validity.buf, *data = column->data.buf;
    if (column->validity.obj && !(validity[at >> 3] >> (at & 7) & 1)) return 0;
    int32_t ends[2];
    memcpy(ends, (const uint8_t *)column->offsets.buf + at * 4, 8);
    if (ends[0] < 0 || ends[1] < ends[0] || ends[1] > column->data.len) return -1;
    if (!data) data = (const uint8_t *)"";
    *in = (Reading){data + ends[0], data + ends[1]};
    return 1;
}

typedef struct {
    uint8_t *where, *sizes, *depths, *codes;
} Made;

static void set_row(const Made *made, Py_ssize_t row, size_t where, Measure measure, Code code) {
    int32_t begin = (int32_t)where;
    memcpy(made->where + row * 4, &begin, 4);
    memcpy(made->sizes + row * 8, &measure.size, 8);
    memcpy(made->depths + row * 4, &measure.depth, 4);
    made->codes[row] = (uint8_t)code;
}

static Outcome walk_rows(const Column *column, Step step, void *state, Writing *out, const Made *made) {
    for (Py_ssize_t row = 0; row < column->rows; row++) {
        size_t used = (size_t)(out->at - out->start);
        Reading in;
        Measure measure = {0, 0};
        int given = column_row(column, row, &in);
        if (given < 0) return BAD_OFFSET;
        Code code = given ? step(state, &in, out, &measure) : ABSENT;
        if (out->failed) return NO_MEMORY;
        if (code != FINE) {
            out->at = out->start + used;
            measure = (Measure){0, 0};
        }
        set_row(made, row, used, measure, code);
        if (out->at - out->start > INT32_MAX) return TOO_LONG;
    }
    int32_t end = (int32_t)(out->at - out->start);
    memcpy(made->where + column->rows * 4, &end, 4);
    return DONE;
}

static Outcome walk(const Column *column, Step step, void *state, Writing *out, const Made *made) {
    int32_t first, last;
    memcpy(&first, (const uint8_t *)column->offsets.buf + column->first * 4, 4);
    memcpy(&last, (const uint8_t *)column->offsets.buf + (column->first + column->rows) * 4, 4);
    int64_t length = (int64_t)last - first;
    if (!grow(out, (length > 0 ? (size_t)length : 0) + ROOM_PER_TOKEN)) return NO_MEMORY;
    return walk_rows(column, step, state, out, made);
}

PyObject *column_walked(const Column *column, Step step, void *state) {
    static const int widths[4] = {4, 8, 4, 1};
    PyObject *parts[4] = {NULL}, *text = NULL, *result = NULL;
    Made made;
    uint8_t **places[4] = {&made.where, &made.sizes, &made.depths, &made.codes};
    Writing out = {0};
    for (int i = 0; i < 4; i++) {
        parts[i] = PyBytes_FromStringAndSize(NULL, (column->rows + !i) * widths[i]);
        if (!parts[i]) goto done;
        *places[i] = (uint8_t *)PyBytes_AsString(parts[i]); /* nobody else knows of it yet */
    }
    Outcome outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = walk(column, step, state, &out, &made);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY) PyErr_NoMemory();
    else if (outcome == BAD_OFFSET) PyErr_SetString(PyExc_ValueError, "an offset lies outside the data");
    else if (outcome == TOO_LONG) {
        Py_INCREF(Py_None);
        result = Py_None;
    } else {
        text = bytes_of(&out);
        if (text) result = PyTuple_Pack(5, text, parts[0], parts[1], parts[2], parts[3]);
    }
done:
    free(out.start);
    Py_XDECREF(text);
    for (int i = 0; i < 4; i++) Py_XDECREF(parts[i]);
    return result;
}
