/* The names of maps that are open: whether one may stand twice in its map.
 *
 * Invariant: equal names have equal hashes, so what isn't found to repeat doesn't.
 */
#include "walk.h"

enum { FEW_NAMES = 16 }; /* of so many, each is compared with each */

int names_note(Names *names, size_t at, uint64_t length) {
    if (names->used == names->room) {
        size_t room = names->room ? names->room * 2 : 64;
        Name *moved = realloc(names->list, room * sizeof(Name));
        if (!moved) return 0;
        names->list = moved;
        names->room = room;
    }
    names->list[names->used++] = (Name){at, length};
    return 1;
}

uint64_t hash_of(const uint8_t *at, uint64_t length) {
    uint64_t hash = length, word;
    for (; length >= 8; length -= 8, at += 8) {
        memcpy(&word, at, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    word = 0;
    memcpy(&word, at, length);
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static int by_hash(const void *one, const void *other) {
    uint64_t a = ((const Name *)one)->length_or_hash, b = ((const Name *)other)->length_or_hash;
    return (a > b) - (a < b);
}

int names_may_repeat(const Names *names, size_t first, const uint8_t *base) {
    Name *found = names->list + first;
    size_t count = names->used - first;
    for (size_t i = 0; i < count; i++)
        found[i].length_or_hash = hash_of(base + found[i].at, found[i].length_or_hash);
    if (count > FEW_NAMES) {
        qsort(found, count, sizeof(Name), by_hash);
        for (size_t i = 1; i < count; i++)
            if (found[i].length_or_hash == found[i - 1].length_or_hash) return 1;
        return 0;
    }
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (found[i].length_or_hash == found[j].length_or_hash) return 1;
    return 0;
}
