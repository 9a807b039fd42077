/* A batch of documents as a server sends it: where each begins.
 *
 * Invariant: every document lies wholly within the array; what isn't an array of documents is left to Python.
 */
#include "bson.h"

/* Returns how many documents there are, -1 for odd; `places` may be NULL. */
static Py_ssize_t walk_batch(const Py_buffer *data, uint8_t *places) {
    Reading whole = {data->buf, (const uint8_t *)data->buf + data->len}, elements;
    Element found;
    Py_ssize_t count = 0;
    if (!bson_open(&whole, &elements)) return -1;
    for (; elements.at < elements.end; count++) {
        if (!bson_next(&elements, &found) || found.kind != BSON_DOCUMENT) return -1;
        int64_t place = found.value.at - whole.at;
        if (places) memcpy(places + count * 8, &place, 8);
    }
    return count;
}

/* starts(array) -> places of 64 bits, or None. */
PyObject *bson_starts(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer data;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*", &data)) return NULL;
    Py_ssize_t count = walk_batch(&data, NULL);
    if (count < 0) {
        Py_INCREF(Py_None);
        result = Py_None;
    } else {
        result = PyBytes_FromStringAndSize(NULL, count * 8);
        if (result) walk_batch(&data, (uint8_t *)PyBytes_AsString(result)); /* nobody else knows of it yet */
    }
    PyBuffer_Release(&data);
    return result;
}
