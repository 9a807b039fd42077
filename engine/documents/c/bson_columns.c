/* Raw BSON documents cut into the columns that rules want, a whole batch in one call.
 *
 * Invariant: a document that is called odd leaves no trace but a row without values in every column; what the others
 * give is what connectors.mongodb.documents gives. A name that stands twice where it matters is odd.
 */
#include "bson.h"

enum { NOWHERE = -1, RESTS_MAX = 64 };

/* One column, or one field of a list's elements. Of a list itself: where its elements begin; it has no text. */
typedef struct {
    Writing text, where, sizes, depths, codes;
    Measure measure;
    Py_ssize_t list; /* the list that it is */
    int is_there;
    size_t text_mark, rows_mark; /* what it held before the document */
} Cells;

/* What is wanted of the value behind a name; `left_out` the rests that leave it out, a bit each. */
typedef struct {
    const uint8_t *name;
    Py_ssize_t length, parent, cells, list, next; /* `next`: another one with the same hash */
    int has_children;
    unsigned long long left_out;
    uint64_t seen;
} Node;

typedef struct {
    Py_ssize_t root, first_field, fields; /* the node that stands for an element; the cells of its fields */
    int32_t total, mark;
} List;

typedef struct {
    BsonWalk walk;
    Node *nodes;
    List *lists;
    Cells *cells;
    Py_ssize_t *rests, *table;
    Py_ssize_t node_count, list_count, cell_count, column_count, rest_count, table_mask, bare;
    uint64_t visits;
} Columns;

static uint64_t slot_of(Py_ssize_t parent, const uint8_t *name, Py_ssize_t length) {
    return hash_of(name, (uint64_t)length) ^ (uint64_t)parent * UINT64_C(0x9E3779B97F4A7C15);
}

static Node *node_at(const Columns *columns, Py_ssize_t parent, const Element *element) {
    Py_ssize_t length = (Py_ssize_t)element->length;
    Py_ssize_t at = columns->table[slot_of(parent, element->name, length) & (uint64_t)columns->table_mask];
    for (; at != NOWHERE; at = columns->nodes[at].next) {
        Node *node = &columns->nodes[at];
        if (node->parent == parent && node->length == length && !memcmp(node->name, element->name, element->length))
            return node;
    }
    return NULL;
}

static inline size_t used(const Writing *out) {
    return (size_t)(out->at - out->start);
}

/* End the row of one column; `begin` is where its text, or its elements, began. */
static int end_row(Cells *cells, size_t begin) {
    int32_t where = (int32_t)begin;
    uint8_t code = cells->is_there ? FINE : ABSENT;
    Measure measure = cells->is_there ? cells->measure : (Measure){0, 0};
    cells->is_there = 0;
    return append(&cells->where, &where, 4) && append(&cells->sizes, &measure.size, 8) &&
           append(&cells->depths, &measure.depth, 4) && append(&cells->codes, &code, 1);
}

static int collect(Columns *columns, Py_ssize_t parent, const Reading *document, int is_top);

static int put_elements(Columns *columns, List *list, Cells *cells, const Element *element) {
    Reading elements;
    Element found;
    if (element->kind == BSON_NULL) return 1;
    if (element->kind != BSON_ARRAY || !bson_open(&element->value, &elements)) return 0;
    cells->is_there = 1;
    while (elements.at < elements.end) {
        if (!bson_next(&elements, &found) || list->total == INT32_MAX) return 0;
        Cells *fields = columns->cells + list->first_field;
        for (Py_ssize_t i = 0; i < list->fields; i++) fields[i].text_mark = used(&fields[i].text);
        if (found.kind == BSON_DOCUMENT && !collect(columns, list->root, &found.value, 0)) return 0;
        for (Py_ssize_t i = 0; i < list->fields; i++)
            if (!end_row(&fields[i], fields[i].text_mark)) return 0;
        list->total++;
    }
    return 1;
}

/* Leave nothing but a scalar's own text, without what encloses it. Returns 0 where it isn't spelled as it is. */
static int unwrap(const Columns *columns, Cells *cells, const Element *element) {
    const Notation *n = columns->walk.notation;
    uint8_t kind = element->kind;
    int is_number = kind == BSON_INT32 || kind == BSON_INT64 || kind == BSON_DOUBLE || kind == BSON_DECIMAL128;
    int is_text = kind == BSON_STRING || kind == BSON_OBJECT_ID || kind == BSON_DATE ||
                  (kind == BSON_BINARY && element->value.at[4] == BINARY_UUID);
    if (!is_number && !is_text) return 0;
    size_t before = is_number ? n->number.before.length : n->string.before.length + 1;
    size_t after = is_number ? n->number.after.length : n->string.after.length + 1;
    uint8_t *begin = cells->text.start + cells->text_mark;
    size_t length = used(&cells->text) - cells->text_mark - before - after;
    if (memchr(begin + before, '\\', length)) return 0;
    memmove(begin, begin + before, length);
    cells->text.at = begin + length;
    return 1;
}

static int put_wanted(Columns *columns, Node *node, const Element *element) {
    if (node->cells != NOWHERE) {
        Cells *cells = columns->cells + node->cells;
        cells->is_there = 1;
        cells->measure = (Measure){0, 0};
        if (!bson_value(&columns->walk, element, &cells->text, &cells->measure, 0)) return 0;
        if (node->cells == columns->bare && !unwrap(columns, cells, element)) return 0;
    }
    if (node->list != NOWHERE) {
        List *list = &columns->lists[node->list];
        Cells *cells = columns->cells;
        while (cells->list != node->list) cells++;
        if (!put_elements(columns, list, cells, element)) return 0;
    }
    if (!node->has_children || element->kind != BSON_DOCUMENT) return 1;
    return collect(columns, node - columns->nodes, &element->value, 0);
}

/* Write a field into all rests that don't leave it out: once, and then as a copy. */
static int put_rests(Columns *columns, const Element *element, unsigned long long left_out) {
    const uint8_t *written = NULL;
    size_t length = 0;
    Measure measure = {0, 0};
    for (Py_ssize_t i = 0; i < columns->rest_count; i++) {
        if (left_out >> i & 1) continue;
        Cells *cells = columns->cells + columns->rests[i];
        Writing *out = &cells->text;
        if (written) {
            if (!append(out, written, length)) return 0;
        } else {
            static const Reading none = {NULL, NULL};
            size_t begin = used(out);
            if (!roomy(out, &none)) return 0;
            put_byte(out, ',');
            if (!bson_name(&columns->walk, element, out, &measure)) return 0;
            put_byte(out, ':');
            if (!bson_value(&columns->walk, element, out, &measure, 0)) return 0;
            written = out->start + begin;
            length = used(out) - begin;
        }
        cells->measure.size += measure.size;
        deepen(&cells->measure, measure.depth);
    }
    return 1;
}

static int note_field(Columns *columns, const Element *element) {
    BsonWalk *walk = &columns->walk;
    if (names_note(&walk->names, (size_t)(element->name - walk->base), element->length)) return 1;
    walk->failed = 1;
    return 0;
}

/* Go through a document, and put what is wanted of it where it belongs. Returns 0 for odd. */
static int collect(Columns *columns, Py_ssize_t parent, const Reading *document, int is_top) {
    uint64_t visit = ++columns->visits;
    int has_rests = is_top && columns->rest_count;
    Reading elements;
    Element found;
    if (!bson_open(document, &elements)) return 0;
    while (elements.at < elements.end) {
        if (!bson_next(&elements, &found)) return 0;
        Node *node = node_at(columns, parent, &found);
        if (node && node->seen == visit) return 0;
        if (has_rests) {
            if (!put_rests(columns, &found, node ? node->left_out : 0)) return 0;
            if (!node && !note_field(columns, &found)) return 0; /* others are seen twice by their nodes */
        }
        if (!node) continue;
        node->seen = visit;
        if (!put_wanted(columns, node, &found)) return 0;
    }
    return 1;
}

static void begin_document(Columns *columns) {
    for (Py_ssize_t i = 0; i < columns->cell_count; i++) {
        Cells *cells = &columns->cells[i];
        cells->text_mark = used(&cells->text);
        cells->rows_mark = used(&cells->codes);
    }
    for (Py_ssize_t i = 0; i < columns->list_count; i++) columns->lists[i].mark = columns->lists[i].total;
    for (Py_ssize_t i = 0; i < columns->rest_count; i++) {
        Cells *cells = &columns->cells[columns->rests[i]];
        cells->is_there = 1;
        cells->measure = (Measure){0, 0};
    }
    columns->walk.names.used = 0;
}

static void take_back(Columns *columns, const size_t *marks) {
    for (Py_ssize_t i = 0; i < columns->cell_count; i++) {
        Cells *cells = &columns->cells[i];
        cells->is_there = 0;
        cells->text.at = cells->text.start + marks[i];
        cells->where.at = cells->where.start + 4 * cells->rows_mark;
        cells->sizes.at = cells->sizes.start + 8 * cells->rows_mark;
        cells->depths.at = cells->depths.start + 4 * cells->rows_mark;
        cells->codes.at = cells->codes.start + cells->rows_mark;
    }
    for (Py_ssize_t i = 0; i < columns->list_count; i++) columns->lists[i].total = columns->lists[i].mark;
}

static size_t begin_of(const Columns *columns, const Cells *cells) {
    return cells->list == NOWHERE ? cells->text_mark : (size_t)columns->lists[cells->list].mark;
}

static int has_failed(const Columns *columns) {
    int failed = columns->walk.failed;
    for (Py_ssize_t i = 0; i < columns->cell_count; i++) {
        const Cells *cells = &columns->cells[i];
        failed |= cells->text.failed | cells->where.failed | cells->sizes.failed | cells->depths.failed |
                  cells->codes.failed;
    }
    return failed;
}

typedef enum { DONE, NO_MEMORY, BAD_PLACE, TOO_LONG } Outcome;

static int is_sound(Columns *columns, const Reading *document) {
    if (!collect(columns, 0, document, 1)) return 0;
    return columns->walk.names.used < 2 || !names_may_repeat(&columns->walk.names, 0, columns->walk.base);
}

static Outcome walk_documents(Columns *columns, const Py_buffer *data, const Py_buffer *starts, uint8_t *codes,
                              size_t *marks) {
    const uint8_t *begin = data->buf;
    for (Py_ssize_t row = 0; row < starts->len / 8; row++) {
        int64_t start;
        memcpy(&start, (const uint8_t *)starts->buf + row * 8, 8);
        if (start < 0 || start > data->len) return BAD_PLACE;
        Reading document = {begin + start, begin + data->len};
        begin_document(columns);
        for (Py_ssize_t i = 0; i < columns->cell_count; i++) marks[i] = columns->cells[i].text_mark;
        int sound = is_sound(columns, &document);
        if (!sound && has_failed(columns)) return NO_MEMORY;
        if (!sound) take_back(columns, marks);
        codes[row] = sound ? FINE : ODD;
        for (Py_ssize_t i = 0; i < columns->column_count; i++)
            if (!end_row(&columns->cells[i], begin_of(columns, &columns->cells[i]))) return NO_MEMORY;
        for (Py_ssize_t i = 0; i < columns->cell_count; i++)
            if (used(&columns->cells[i].text) > INT32_MAX) return TOO_LONG;
    }
    for (Py_ssize_t i = 0; i < columns->cell_count; i++) {
        Cells *cells = &columns->cells[i];
        int32_t end = (int32_t)(cells->list == NOWHERE ? used(&cells->text) : (size_t)columns->lists[cells->list].total);
        if (!append(&cells->where, &end, 4)) return NO_MEMORY;
    }
    return DONE;
}

static int nodes_from(PyObject *given, Columns *columns) {
    for (Py_ssize_t i = 0; i < columns->node_count; i++) {
        Node *node = &columns->nodes[i];
        const char *name;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "y#nnnKp", &name, &node->length, &node->parent, &node->cells,
                              &node->list, &node->left_out, &node->has_children))
            return 0;
        node->name = (const uint8_t *)name;
        if (node->parent < NOWHERE || node->parent >= i || node->cells < NOWHERE || node->list < NOWHERE ||
            node->cells >= columns->cell_count || node->list >= columns->list_count) {
            PyErr_SetString(PyExc_ValueError, "a node of the layout leads nowhere");
            return 0;
        }
        Py_ssize_t *slot = &columns->table[slot_of(node->parent, node->name, node->length) & (uint64_t)columns->table_mask];
        node->next = *slot;
        *slot = i;
    }
    return 1;
}

static int lists_from(PyObject *given, Columns *columns) {
    for (Py_ssize_t i = 0; i < columns->list_count; i++) {
        List *list = &columns->lists[i];
        Py_ssize_t column;
        if (!PyArg_ParseTuple(PyTuple_GetItem(given, i), "nnnn", &column, &list->root, &list->first_field, &list->fields))
            return 0;
        if (column < 0 || column >= columns->column_count || list->root < 1 || list->root >= columns->node_count ||
            list->first_field < columns->column_count || list->fields < 0 ||
            list->fields > columns->cell_count - list->first_field) {
            PyErr_SetString(PyExc_ValueError, "a list of the layout leads nowhere");
            return 0;
        }
        columns->cells[column].list = i;
    }
    return 1;
}

static int rests_from(PyObject *given, Columns *columns) {
    for (Py_ssize_t i = 0; i < columns->rest_count; i++) {
        Py_ssize_t column = PyLong_AsSsize_t(PyTuple_GetItem(given, i));
        if (column == -1 && PyErr_Occurred()) return 0;
        if (column < 0 || column >= columns->column_count) {
            PyErr_SetString(PyExc_ValueError, "a rest of the layout leads nowhere");
            return 0;
        }
        columns->rests[i] = column;
    }
    return 1;
}

/* Take (columns, cells, bare, nodes, lists, rests) apart. Returns 0 with an exception. */
static int layout_from(PyObject *given, Columns *columns) {
    PyObject *nodes, *lists, *rests;
    if (!PyTuple_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "a layout is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(given, "nnnO!O!O!", &columns->column_count, &columns->cell_count, &columns->bare,
                          &PyTuple_Type, &nodes, &PyTuple_Type, &lists, &PyTuple_Type, &rests))
        return 0;
    columns->node_count = PyTuple_Size(nodes);
    columns->list_count = PyTuple_Size(lists);
    columns->rest_count = PyTuple_Size(rests);
    if (columns->column_count < 0 || columns->cell_count < columns->column_count || columns->cell_count > 1 << 20 ||
        columns->rest_count > RESTS_MAX || columns->node_count < 1) {
        PyErr_SetString(PyExc_ValueError, "a layout has its columns and a root");
        return 0;
    }
    for (columns->table_mask = 7; columns->table_mask < columns->node_count * 2;)
        columns->table_mask = columns->table_mask * 2 + 1;
    columns->nodes = calloc((size_t)columns->node_count, sizeof(Node));
    columns->lists = calloc((size_t)columns->list_count + 1, sizeof(List));
    columns->cells = calloc((size_t)columns->cell_count + 1, sizeof(Cells));
    columns->rests = calloc((size_t)columns->rest_count + 1, sizeof(Py_ssize_t));
    columns->table = malloc((size_t)(columns->table_mask + 1) * sizeof(Py_ssize_t));
    if (!columns->nodes || !columns->lists || !columns->cells || !columns->rests || !columns->table) {
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t i = 0; i <= columns->table_mask; i++) columns->table[i] = NOWHERE;
    for (Py_ssize_t i = 0; i < columns->cell_count; i++) columns->cells[i].list = NOWHERE;
    return nodes_from(nodes, columns) && lists_from(lists, columns) && rests_from(rests, columns);
}

static void columns_done(Columns *columns) {
    for (Py_ssize_t i = 0; columns->cells && i < columns->cell_count; i++) {
        Cells *cells = &columns->cells[i];
        free(cells->text.start);
        free(cells->where.start);
        free(cells->sizes.start);
        free(cells->depths.start);
        free(cells->codes.start);
    }
    free(columns->nodes);
    free(columns->lists);
    free(columns->cells);
    free(columns->rests);
    free(columns->table);
    free(columns->walk.names.list);
}

static PyObject *cells_packed(const Cells *cells) {
    const Writing *parts[] = {&cells->text, &cells->where, &cells->sizes, &cells->depths, &cells->codes};
    PyObject *packed = PyTuple_New(5);
    for (Py_ssize_t i = 0; packed && i < 5; i++) {
        PyObject *part = bytes_of(parts[i]);
        if (!part || PyTuple_SetItem(packed, i, part)) {
            Py_DECREF(packed);
            return NULL;
        }
    }
    return packed;
}

static PyObject *all_packed(const Columns *columns, PyObject *codes) {
    PyObject *packed = PyTuple_New(columns->cell_count + 1);
    if (!packed) return NULL;
    Py_INCREF(codes);
    if (PyTuple_SetItem(packed, 0, codes)) goto failed;
    for (Py_ssize_t i = 0; i < columns->cell_count; i++) {
        PyObject *part = cells_packed(&columns->cells[i]);
        if (!part || PyTuple_SetItem(packed, i + 1, part)) goto failed;
    }
    return packed;
failed:
    Py_DECREF(packed);
    return NULL;
}

static PyObject *columns_walked(Columns *columns, const Py_buffer *data, const Py_buffer *starts) {
    PyObject *codes = PyBytes_FromStringAndSize(NULL, starts->len / 8), *result = NULL;
    size_t *marks = calloc((size_t)columns->cell_count + 1, sizeof *marks);
    if (!codes || !marks) {
        free(marks);
        Py_XDECREF(codes);
        return PyErr_NoMemory();
    }
    uint8_t *codes_at = (uint8_t *)PyBytes_AsString(codes); /* nobody else knows of it yet */
    Outcome outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = walk_documents(columns, data, starts, codes_at, marks);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY) PyErr_NoMemory();
    else if (outcome == BAD_PLACE) PyErr_SetString(PyExc_ValueError, "a document lies outside the data");
    else if (outcome == DONE) result = all_packed(columns, codes);
    else {
        Py_INCREF(Py_None);
        result = Py_None;
    }
    free(marks);
    Py_DECREF(codes);
    return result;
}

/* columns(data, starts, notation, layout) -> (codes, then for each column and field: text, offsets, sizes, depths,
 * codes), or None when a text is too long for Arrow's offsets. */
PyObject *bson_columns(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer data, starts;
    Notation notation;
    Columns columns;
    memset(&columns, 0, sizeof columns);
    PyObject *given, *layout, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*OO", &data, &starts, &given, &layout)) return NULL;
    columns.walk.notation = &notation;
    columns.walk.base = data.buf;
    if (notation_from(given, &notation) && layout_from(layout, &columns)) result = columns_walked(&columns, &data, &starts);
    columns_done(&columns);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&data);
    return result;
}
