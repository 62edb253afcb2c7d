/* The dice of the worlds: the same seed (dice_state) throws the same world, on any machine. */
#ifndef TESTS_UNIT_DICE_H
#define TESTS_UNIT_DICE_H

#include <stdint.h>

static uint64_t dice_state;

static inline uint32_t dice(uint32_t sides)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(dice_state >> 33) % sides;
}

static inline int64_t between(int64_t from, int64_t to)
{
    return from + dice((uint32_t)(to - from + 1));
}

#endif
