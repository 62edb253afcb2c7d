/* Edit distance for error messages: "did you mean …". Optimal string alignment over words of at most 64 bytes; longer
 * ones are nobody's typing mistake. Never allocates. */
#include "config/nearest.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST = 64, FAR = 1000 };

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* One row of the matrix: distances of the first `i` letters of a to all beginnings of b. */
static void fill_row(unsigned *row, const unsigned *above, const unsigned *above_that, const char *a, const char *b,
                     size_t i, size_t b_length)
{
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= b_length; j++) {
        unsigned same = above[j - 1] + (a[i - 1] != b[j - 1]);
        row[j] = smaller(same, smaller(above[j], row[j - 1]) + 1);
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
            row[j] = smaller(row[j], above_that[j - 2] + 1);
    }
}

static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][LONGEST + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > LONGEST || b_length > LONGEST)
        return FAR;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++)
        fill_row(rows[i % 3], rows[(i + 2) % 3], rows[(i + 1) % 3], a, b, i, b_length);
    return rows[a_length % 3][b_length];
}

struct nearest nearest_to(const char *word)
{
    return (struct nearest){.word = word, .best = NULL, .distance = FAR};
}

void nearest_offer(struct nearest *nearest, const char *candidate, const char *meant)
{
    unsigned edits = distance(nearest->word, candidate);
    if (edits >= nearest->distance)
        return;
    nearest->distance = edits;
    nearest->best = meant;
}

const char *nearest_found(const struct nearest *nearest)
{
    size_t near_enough = strlen(nearest->word) / 3;
    if (near_enough < 1)
        near_enough = 1;
    return nearest->distance <= near_enough ? nearest->best : NULL;
}
