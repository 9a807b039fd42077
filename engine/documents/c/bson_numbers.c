/* BSON's numbers as decimals: the shortest text that reads back to a double, a Decimal128's own digits.
 *
 * Invariant: what Python's repr() and Decimal would say, to the digit; what needs more than is held here, or is
 * no number, is odd.
 */
#include "bson.h"

enum { EXACT_DIGITS = 15, DOUBLE_DIGITS = 17, POWERS_OF_FIVE = 28, DECIMAL128_BIAS = 6176, INTEGER_DIGITS = 20 };

static const double WHOLE_MAX = 1e15; /* connectors.mongodb.bson_values.WHOLE_DOUBLE_MAX */

/* Write the digits of an integer from the end of a buffer; returns where they begin. */
static uint8_t *digits_before(uint8_t *end, uint64_t value) {
    while (value) {
        *--end = (uint8_t)('0' + value % 10);
        value /= 10;
    }
    return end;
}

/* Write digits times ten to the exponent as a number, whatever zeros they end with. */
static int put_number(const Notation *n, int negative, const uint8_t *digits, int64_t count, int64_t exponent,
                      Writing *out, Measure *measure) {
    for (; count && digits[count - 1] == '0'; count--) exponent++;
    put(out, &n->number.before);
    int64_t size = walk_digits(n, out, negative, digits, count, exponent);
    if (!size) return 0;
    measure->size += size;
    put(out, &n->number.after);
    return 1;
}

int bson_integer(const Notation *n, int64_t value, Writing *out, Measure *measure) {
    uint8_t text[INTEGER_DIGITS], *end = text + INTEGER_DIGITS;
    uint8_t *first = digits_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    return put_number(n, value < 0, first, end - first, 0, out, measure);
}

/* Whatever is below needs wide integers and doubles that are rounded once; without them doubles that are no
 * integers, and long decimals, are odd. */
#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 Wide;

static int put_scaled(const Notation *n, int negative, uint64_t value, int power, Writing *out, Measure *measure) {
    uint8_t text[INTEGER_DIGITS], *end = text + INTEGER_DIGITS, *first = digits_before(end, value);
    return put_number(n, negative, first, end - first, -power, out, measure);
}

/* A decimal of up to 15 digits leads to one double only, and no shorter one does: the quotient of two integers
 * that doubles hold is rounded once. Returns 0 for odd, -1 where it takes more digits. */
static int short_double(const Notation *n, double value, int negative, Writing *out, Measure *measure) {
    static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
                                  1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    for (int power = 1; power < (int)(sizeof tens / sizeof *tens); power++) {
        double scaled = value * tens[power];
        if (scaled >= WHOLE_MAX) return -1;
        uint64_t whole = (uint64_t)(scaled + 0.5);
        if (whole && (double)whole / tens[power] == value) return put_scaled(n, negative, whole, power, out, measure);
    }
    return 0; /* too small to be sure */
}

/* One that needs 16 or 17 digits: mantissa * 2^exponent, scaled by a power of ten exactly, and rounded. Of so many
 * digits the nearest are taken, of two as near the even ones; they read back to the double if they are within half of
 * its last bit. */
static int long_double(const Notation *n, uint64_t mantissa, int exponent, double value, int negative, Writing *out,
                       Measure *measure) {
    int first = 0; /* the power of ten of the first digit */
    for (double ten = 10; value >= ten; ten *= 10) first++;
    for (double one = 1; value < one && first > -POWERS_OF_FIVE; one /= 10) first--;
    for (int count = EXACT_DIGITS + 1; count <= DOUBLE_DIGITS; count++) {
        int power = count - 1 - first, shift = -(exponent + power);
        if (power < 0 || power >= POWERS_OF_FIVE || shift < 1 || shift > 100) return 0;
        uint64_t five = 1;
        for (int i = 0; i < power; i++) five *= 5;
        Wide exact = (Wide)mantissa * five, half = (Wide)1 << (shift - 1), rest = exact & (half * 2 - 1);
        uint64_t found = (uint64_t)(exact >> shift);
        if (rest > half || (rest == half && found & 1)) {
            found++;
            rest = half * 2 - rest;
        }
        uint64_t least = count > EXACT_DIGITS + 1 ? UINT64_C(10000000000000000) : UINT64_C(1000000000000000);
        if (found < least || found > least * 10) return 0; /* so near a power of ten that `first` may be another */
        if (rest * 2 < five || count == DOUBLE_DIGITS) return put_scaled(n, negative, found, power, out, measure);
    }
    return 0;
}

static int fractional(const Notation *n, uint64_t bits, double value, int negative, Writing *out, Measure *measure) {
    uint64_t mantissa = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7FF);
    int done = short_double(n, value, negative, out, measure);
    if (done >= 0) return done;
    if (!mantissa || !exponent) return 0; /* a neighbour is nearer than the other; too small */
    return long_double(n, mantissa | UINT64_C(1) << 52, exponent - 1075, value, negative, out, measure);
}

int bson_decimal(const Notation *n, const uint8_t *at, Writing *out, Measure *measure) {
    uint64_t low = (uint64_t)bson_int64(at), high = (uint64_t)bson_int64(at + 8);
    static const uint64_t part = UINT64_C(10000000000000000000); /* 19 digits */
    if ((high >> 61 & 3) == 3) return 0; /* no number, or one that nobody writes */
    Wide value = (Wide)(high & ((UINT64_C(1) << 49) - 1)) << 64 | low;
    if (value / part / 1000000000000000) return 0; /* over 34 digits */
    uint8_t text[2 * INTEGER_DIGITS], *end = text + sizeof text, *first = end;
    if (value >= part) {
        first = digits_before(end, (uint64_t)(value % part));
        while (first > end - 19) *--first = '0';
        first = digits_before(first, (uint64_t)(value / part));
    } else first = digits_before(end, (uint64_t)value);
    int64_t exponent = (int64_t)(high >> 49 & 0x3FFF) - DECIMAL128_BIAS;
    return put_number(n, (int)(high >> 63), first, end - first, exponent, out, measure);
}
#else
static int fractional(const Notation *n, uint64_t bits, double value, int negative, Writing *out, Measure *measure) {
    (void)n, (void)bits, (void)value, (void)negative, (void)out, (void)measure;
    return 0;
}

int bson_decimal(const Notation *n, const uint8_t *at, Writing *out, Measure *measure) {
    (void)n, (void)at, (void)out, (void)measure;
    return 0;
}
#endif

int bson_double(const Notation *n, const uint8_t *at, Writing *out, Measure *measure) {
    uint64_t bits = eight_bytes(at), magnitude = bits & ~(UINT64_C(1) << 63);
    double value;
    memcpy(&value, &magnitude, 8);
    if (!(value < WHOLE_MAX)) return 0; /* large, infinite or no number */
    int negative = bits != magnitude;
    int64_t whole = (int64_t)value;
    if ((double)whole == value) return bson_integer(n, negative ? -whole : whole, out, measure);
    return fractional(n, magnitude, value, negative, out, measure);
}
