/* The parts of a walk that aren't tight loops: words, room, escapes, wide characters, numbers. */
#include "walk.h"

#include <stdio.h>

static int word_from(const char *text, Py_ssize_t length, Word *word) {
    if (length > WORD_MAX) {
        PyErr_SetString(PyExc_ValueError, "a word of the notation is too long");
        return 0;
    }
    memset(word->text, 0, WORD_MAX);
    memcpy(word->text, text, (size_t)length);
    word->length = (size_t)length;
    return 1;
}

static int words_from(PyObject *given, Notation *n) {
    Word *words[] = {
        &n->string.before, &n->string.after, &n->number.before, &n->number.after, &n->binary.before,
        &n->binary.after, &n->boolean.before, &n->boolean.after, &n->list.before, &n->list.after, &n->map.before, &n->map.after, &n->null,
    };
    Py_ssize_t count = sizeof words / sizeof *words;
    if (!PyTuple_Check(given) || PyTuple_Size(given) != count) {
        PyErr_SetString(PyExc_TypeError, "a notation has thirteen words");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        char *text;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(given, i), &text, &length)) return 0;
        if (!word_from(text, length, words[i])) return 0;
    }
    return 1;
}

static int64_t least(int64_t one, int64_t other) {
    return one < other ? one : other;
}

int notation_from(PyObject *given, Notation *n) {
    PyObject *words;
    long long sizes[4], decimals[5], levels;
    if (!PyTuple_Check(given)) {
        PyErr_SetString(PyExc_TypeError, "a notation is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(given, "OLLLLLLLLLLp", &words, sizes, sizes + 1, sizes + 2, sizes + 3, decimals,
                          decimals + 1, decimals + 2, decimals + 3, decimals + 4, &levels, &n->nameless))
        return 0;
    if (!words_from(words, n)) return 0;
    n->null_size = sizes[0], n->boolean_size = sizes[1], n->container_size = sizes[2], n->element_size = sizes[3];
    n->digits_max = decimals[0], n->magnitude_min = decimals[1], n->magnitude_max = decimals[2];
    n->plain_length_max = decimals[3], n->number_size_max = decimals[4], n->levels_max = levels;
    if (n->digits_max < 1 || n->digits_max > DIGITS_LIMIT || n->plain_length_max < n->digits_max ||
        n->plain_length_max > DIGITS_LIMIT || levels < 0 || levels > LEVELS_LIMIT ||
        n->magnitude_min < -1000000 || n->magnitude_min > 0 || n->magnitude_max < 0 || n->magnitude_max > 1000000) {
        PyErr_SetString(PyExc_ValueError, "a limit of the notation is out of range");
        return 0;
    }
    n->copied_max = least(n->digits_max, least(-n->magnitude_min, n->magnitude_max));
    return 1;
}

int grow(Writing *out, size_t wanted) {
    size_t used = (size_t)(out->at - out->start), room = used + wanted;
    room += room / 2;
    uint8_t *moved = realloc(out->start, room);
    if (!moved) {
        out->failed = 1;
        return 0;
    }
    out->start = moved;
    out->at = moved + used;
    out->limit = moved + room;
    return 1;
}

static int hex4(const uint8_t *at, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t sign = at[i], lower = sign | 0x20;
        if (is_digit(sign)) *value = *value << 4 | (uint32_t)(sign - '0');
        else if (lower >= 'a' && lower <= 'f') *value = *value << 4 | (uint32_t)(lower - 'a' + 10);
        else return 0;
    }
    return 1;
}

static int put_wide(Writing *out, uint32_t sign) {
    if (sign < 0x800) {
        put_byte(out, (uint8_t)(0xC0 | sign >> 6));
        put_byte(out, (uint8_t)(0x80 | (sign & 63)));
        return 2;
    }
    if (sign < 0x10000) {
        put_byte(out, (uint8_t)(0xE0 | sign >> 12));
        put_byte(out, (uint8_t)(0x80 | (sign >> 6 & 63)));
        put_byte(out, (uint8_t)(0x80 | (sign & 63)));
        return 3;
    }
    put_byte(out, (uint8_t)(0xF0 | sign >> 18));
    put_byte(out, (uint8_t)(0x80 | (sign >> 12 & 63)));
    put_byte(out, (uint8_t)(0x80 | (sign >> 6 & 63)));
    put_byte(out, (uint8_t)(0x80 | (sign & 63)));
    return 4;
}

void walk_ascii(Writing *out, uint8_t sign) {
    static const char letters[] = "btn\0fr"; /* of 8 to 13 */
    if (sign >= 0x20 && sign != '"' && sign != '\\') {
        put_byte(out, sign);
        return;
    }
    put_byte(out, '\\');
    if (sign >= 0x20) put_byte(out, sign);
    else if (sign >= 8 && sign <= 13 && sign != 11) put_byte(out, (uint8_t)letters[sign - 8]);
    else {
        memcpy(out->at, "u00", 3);
        out->at += 3;
        put_byte(out, (uint8_t)('0' + (sign >> 4)));
        put_byte(out, (uint8_t)"0123456789abcdef"[sign & 15]);
    }
}

static int unicode_escape(Reading *in, Writing *out) {
    uint32_t sign, low;
    if (in->end - in->at < 4 || !hex4(in->at, &sign)) return 0;
    in->at += 4;
    if (sign < 0x80) {
        walk_ascii(out, (uint8_t)sign);
        return 1;
    }
    if (sign < 0xD800 || sign >= 0xE000) return put_wide(out, sign);
    if (sign >= 0xDC00 || in->end - in->at < 6 || in->at[0] != '\\' || in->at[1] != 'u') return 0;
    if (!hex4(in->at + 2, &low) || low < 0xDC00 || low >= 0xE000) return 0;
    in->at += 6;
    return put_wide(out, 0x10000 + ((sign - 0xD800) << 10) + (low - 0xDC00));
}

int walk_escape(Reading *in, Writing *out) {
    if (in->at >= in->end) return 0;
    uint8_t sign = *in->at++;
    switch (sign) {
    case '"': case '\\': case 'b': case 'f': case 'n': case 'r': case 't':
        put_byte(out, '\\');
        put_byte(out, sign);
        return 1;
    case '/':
        put_byte(out, '/');
        return 1;
    case 'u':
        return unicode_escape(in, out);
    default:
        return 0;
    }
}

int walk_wide(Reading *in, Writing *out) {
    const uint8_t *at = in->at;
    uint8_t lead = at[0];
    int more = lead >= 0xC2 && lead < 0xE0 ? 1 : lead >= 0xE0 && lead < 0xF0 ? 2 : lead >= 0xF0 && lead < 0xF5 ? 3 : 0;
    if (!more || in->end - at <= more) return 0;
    for (int i = 1; i <= more; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] >= 0xA0)) return 0; /* too long; half a pair */
    if ((lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] >= 0x90)) return 0; /* too long; over U+10FFFF */
    memcpy(out->at, at, (size_t)more + 1);
    out->at += more + 1;
    in->at += more + 1;
    return 1;
}

/* A number as it stands in JSON: where its parts begin and end. */
typedef struct {
    const uint8_t *whole, *whole_end, *fraction, *fraction_end;
    int64_t power; /* of ten, as written behind the e */
    int negative, has_power, power_is_long;
} Decimal;

static const uint8_t *digits_from(const uint8_t *at, const uint8_t *end) {
    while (at < end && is_digit(*at)) at++;
    return at;
}

static int power_from(Reading *in, Decimal *number) {
    int negative = 0, digits = 0;
    in->at++;
    if (in->at < in->end && (*in->at == '+' || *in->at == '-')) negative = *in->at++ == '-';
    const uint8_t *end = digits_from(in->at, in->end);
    if (end == in->at) return 0;
    number->has_power = 1;
    for (; in->at < end; in->at++) {
        if (digits || *in->at != '0') digits++;
        if (digits <= 9) number->power = number->power * 10 + (*in->at - '0');
    }
    number->power_is_long = digits > 9;
    if (negative) number->power = -number->power;
    return 1;
}

static int decimal_from(Reading *in, Decimal *number) {
    memset(number, 0, sizeof *number);
    if (in->at >= in->end) return 0;
    number->negative = *in->at == '-';
    number->whole = in->at += number->negative;
    number->whole_end = in->at = digits_from(in->at, in->end);
    if (number->whole == number->whole_end) return 0;
    if (*number->whole == '0' && number->whole_end - number->whole > 1) return 0;
    number->fraction = number->fraction_end = in->at;
    if (in->at < in->end && *in->at == '.') {
        number->fraction = in->at + 1;
        number->fraction_end = in->at = digits_from(in->at + 1, in->end);
        if (number->fraction == number->fraction_end) return 0;
    }
    if (in->at < in->end && (*in->at | 0x20) == 'e') return power_from(in, number);
    return 1;
}

static int64_t half_down(int64_t power) {
    return power >= 0 ? power / 2 : -((1 - power) / 2);
}

static int64_t number_size(const Notation *notation, int64_t first, int64_t last, int negative) {
    return least(half_down(first) - half_down(last) + 2 + negative, notation->number_size_max);
}

static void put_digits(Writing *out, const uint8_t *digits, int64_t count) {
    memcpy(out->at, digits, (size_t)count);
    out->at += count;
}

static void put_zeros(Writing *out, int64_t count) {
    memset(out->at, '0', (size_t)count);
    out->at += count;
}

/* Digits times ten to the exponent: plain while that is short, else as d.dddE+n. */
static void spell(const Notation *n, Writing *out, const uint8_t *digits, int64_t count, int64_t exponent) {
    int64_t magnitude = exponent + count - 1;
    if (exponent >= 0 && count + exponent <= n->plain_length_max) {
        put_digits(out, digits, count);
        put_zeros(out, exponent);
    } else if (magnitude >= 0 && exponent < 0) {
        put_digits(out, digits, magnitude + 1);
        put_byte(out, '.');
        put_digits(out, digits + magnitude + 1, count - magnitude - 1);
    } else if (exponent < 0 && 1 - exponent < n->plain_length_max) {
        put_digits(out, (const uint8_t *)"0.", 2);
        put_zeros(out, -magnitude - 1);
        put_digits(out, digits, count);
    } else {
        put_byte(out, digits[0]);
        if (count > 1) {
            put_byte(out, '.');
            put_digits(out, digits + 1, count - 1);
        }
        out->at += sprintf((char *)out->at, "E%+lld", (long long)magnitude);
    }
}

/* Find the significant digits. Returns how many there are, -1 for more than there may be. */
static int64_t significant(const Notation *n, const Decimal *number, uint8_t *digits, int64_t *exponent) {
    const uint8_t *first = number->whole, *last = number->fraction_end;
    int64_t count = 0;
    while (first < last && (*first == '0' || *first == '.')) first++;
    while (last > first && (last[-1] == '0' || last[-1] == '.')) last--;
    for (const uint8_t *at = first; at < last; at++) {
        if (*at == '.') continue;
        if (count == n->digits_max) return -1;
        digits[count++] = *at;
    }
    *exponent = (last <= number->whole_end ? number->whole_end - last : number->fraction - last) + number->power;
    return count;
}

int64_t walk_digits(const Notation *n, Writing *out, int negative, const uint8_t *digits, int64_t count,
                    int64_t exponent) {
    if (!count) {
        put_byte(out, '0');
        return 1;
    }
    int64_t magnitude = exponent + count - 1;
    if (count > n->digits_max || magnitude < n->magnitude_min || magnitude > n->magnitude_max) return 0;
    if (negative) put_byte(out, '-');
    spell(n, out, digits, count, exponent);
    return number_size(n, magnitude, exponent, negative);
}

static int64_t any_number(const Notation *n, Writing *out, const Decimal *number) {
    uint8_t digits[DIGITS_LIMIT];
    int64_t exponent, count = significant(n, number, digits, &exponent);
    if (count < 0 || (count && number->power_is_long)) return 0;
    return walk_digits(n, out, number->negative, digits, count, exponent);
}

/* One that is short and has no exponent: its text without zeros at the end of its fraction. */
static int64_t short_number(const Notation *n, Writing *out, const Decimal *number) {
    const uint8_t *first = number->whole, *stop = number->fraction_end, *whole_end = number->whole_end;
    while (stop > number->fraction && stop[-1] == '0') stop--;
    if (stop == number->fraction) stop = whole_end;
    if (*first == '0' && stop == whole_end) {
        put_byte(out, '0');
        return 1;
    }
    if (number->negative) put_byte(out, '-');
    put_digits(out, first, stop - first);
    const uint8_t *last = stop - 1;
    if (*first == '0') first = number->fraction;
    while (*first == '0') first++;
    while (*last == '0') last--;
    int64_t high = first < whole_end ? whole_end - first - 1 : whole_end - first;
    int64_t low = last < whole_end ? whole_end - last - 1 : whole_end - last;
    return number_size(n, high, low, number->negative);
}

int walk_number(const Notation *notation, Reading *in, Writing *out, Measure *measure) {
    Decimal number;
    if (!decimal_from(in, &number)) return 0;
    put(out, &notation->number.before);
    int is_short = !number.has_power && number.fraction_end - number.whole <= notation->copied_max;
    int64_t size = is_short ? short_number(notation, out, &number) : any_number(notation, out, &number);
    if (!size) return 0;
    measure->size += size;
    put(out, &notation->number.after);
    return 1;
}
