/* The extension engine.documents._walk: which functions Python sees. */
#include "walk.h"

enum { FORM = 7 }; /* goes up with every change of what is handed over, here and in engine/documents/walking.py */

#ifndef WALK_SOURCES
#define WALK_SOURCES ""
#endif

static int about(PyObject *module) {
    if (PyModule_AddIntConstant(module, "FORM", FORM)) return -1;
    return PyModule_AddStringConstant(module, "SOURCES", WALK_SOURCES);
}

static PyMethodDef methods[] = {
    {"starts", bson_starts, METH_VARARGS, "Find where the documents of a BSON array begin."},
    {"columns", bson_columns, METH_VARARGS, "Cut BSON documents into columns."},
    {"documents", json_documents, METH_VARARGS, "Turn a column of JSON texts into documents."},
    {"rows", csv_rows, METH_VARARGS, "Cut rows in CSV into columns of text."},
    {"members", json_members, METH_VARARGS, "Find the members of maps."},
    {"texts", wire_texts, METH_VARARGS, "Take the texts of scalars out of what encloses them."},
    {"part", wire_part, METH_VARARGS, "Cut out of each document what a path leads to."},
    {"elements", wire_elements, METH_VARARGS, "Cut lists into their elements."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)about}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_walk", "Walks over bytes; see engine/documents/walking.py.", 0, methods, slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__walk(void) {
    return PyModuleDef_Init(&definition);
}
