/* The known word nearest to a mistyped one, by edit distance (a swap of neighbours counts as one edit). */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

struct nearest {
    const char *word;  /* what was written */
    const char *best;  /* nearest so far, or NULL */
    unsigned distance; /* of best */
};

struct nearest nearest_to(const char *word);

/* Offers a candidate that stands for `meant` (usually the same string). Both must outlive the search. */
void nearest_offer(struct nearest *nearest, const char *candidate, const char *meant);

/* The nearest candidate if it is near enough to be meant (a third of the word's letters, at least one), else NULL. */
const char *nearest_found(const struct nearest *nearest);

#endif
