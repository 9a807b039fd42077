/* Where the maps of one depth lie in a JSON text, and the members of each, whose values are maps too.
 *
 * Invariant: each byte of such a map is in one member, or is one of the map's two braces or a comma between members; a
 * text that isn't made like that, or has blanks between its signs, isn't cut at all.
 */
#include "walk.h"

/* Places in the text, and in `first` and `loose` numbers of members. */
enum { BEGINS, ENDS, FIRST, STARTS, STOPS, LOOSE, COLUMNS };

typedef struct {
    const uint8_t *text;
    Reading in;
    int64_t depth, members;
    uint8_t map_letter, set_letter; /* of values that may be spelled in several ways */
    Writing made[COLUMNS];
} Members;

static int note(Members *all, int column, int64_t place) {
    return append(&all->made[column], &place, sizeof place);
}

static int note_place(Members *all, int column) {
    return note(all, column, all->in.at - all->text);
}

/* Pass over a string; note whether one of its escapes has another spelling: by number, or of the slash. */
static int pass_text(Reading *in, int *is_loose) {
    const uint8_t *at = in->at;
    int has_escapes;
    if (!pass_string(in, &has_escapes)) return 0;
    for (; has_escapes && at < in->end && at < in->at; at++)
        if (*at == '\\' && (*++at == 'u' || *at == '/')) *is_loose = 1;
    return 1;
}

/* Pass over `{…}`, which holds nothing but compact JSON. */
static int pass_map(Members *all, int *is_loose) {
    Reading *in = &all->in;
    if (in->at >= in->end || *in->at != '{') return 0;
    for (int64_t level = 0; in->at < in->end;) {
        uint8_t sign = *in->at;
        if (sign == '"') {
            if (!pass_text(in, is_loose)) return 0;
            continue;
        }
        if (sign <= ' ') return 0;
        in->at++;
        if (sign == '{' || sign == '[') {
            if (level++ && in->at[-4] == (sign == '{' ? all->map_letter : all->set_letter)) *is_loose = 1;
        } else if ((sign == '}' || sign == ']') && !--level) return 1;
    }
    return 0;
}

/* Cut `{"name":{…},…}` into its members. */
static int cut_map(Members *all) {
    Reading *in = &all->in;
    if (*in->at != '{' || !note_place(all, BEGINS) || !note(all, FIRST, all->members)) return 0;
    do {
        int is_loose = 0;
        if (++in->at >= in->end || *in->at != '"' || !note_place(all, STARTS) || !pass_text(in, &is_loose)) return 0;
        if (in->at >= in->end || *in->at++ != ':' || !pass_map(all, &is_loose) || !note_place(all, STOPS)) return 0;
        if (is_loose && !note(all, LOOSE, all->members)) return 0;
        all->members++;
    } while (in->at < in->end && *in->at == ',');
    return in->at < in->end && *in->at++ == '}' && note_place(all, ENDS);
}

static int cut_text(Members *all) {
    Reading *in = &all->in;
    int64_t level = 0;
    while (in->at < in->end) {
        uint8_t sign = *in->at;
        int ignored;
        if (sign == '"') {
            if (!pass_string(in, &ignored)) return 0;
        } else if ((sign == '{' || sign == '[') && level + 1 == all->depth) {
            if (!cut_map(all)) return 0;
        } else {
            if (sign <= ' ') return 0;
            level += (sign == '{' || sign == '[') - (sign == '}' || sign == ']');
            if (level < 0) return 0;
            in->at++;
        }
    }
    return !level;
}

/* members(text, depth, letters of maps and sets) -> (begins and ends of maps, number of each one's first member,
 * starts and stops of members, numbers of those that may be spelled in several ways), or None. */
PyObject *json_members(PyObject *module, PyObject *arguments) {
    (void)module;
    Members all;
    memset(&all, 0, sizeof all);
    Py_buffer text;
    long long depth;
    const char *letters;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(arguments, "y*Ly#", &text, &depth, &letters, &count)) return NULL;
    PyObject *result = NULL;
    if (count != 2 || depth < 1) PyErr_SetString(PyExc_ValueError, "a depth and two letters are wanted");
    else {
        all.text = text.buf;
        all.in = (Reading){all.text, all.text + text.len};
        all.depth = depth;
        all.map_letter = (uint8_t)letters[0];
        all.set_letter = (uint8_t)letters[1];
        int is_cut, failed = 0;
        Py_BEGIN_ALLOW_THREADS
        is_cut = cut_text(&all);
        Py_END_ALLOW_THREADS
        for (int i = 0; i < COLUMNS; i++) failed |= all.made[i].failed;
        result = failed ? PyErr_NoMemory() : is_cut ? PyTuple_New(COLUMNS) : Py_BuildValue("");
        for (int i = 0; is_cut && result && i < COLUMNS; i++) {
            PyObject *places = bytes_of(&all.made[i]);
            if (!places || PyTuple_SetItem(result, i, places)) Py_CLEAR(result);
        }
    }
    for (int i = 0; i < COLUMNS; i++) free(all.made[i].start);
    PyBuffer_Release(&text);
    return result;
}
