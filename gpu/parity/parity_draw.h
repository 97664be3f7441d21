/*
 * parity_draw.h
 *	  The random numbers of a comparison: what a case draws depends on the seed of the
 *	  run and on the case, and not on the cases before it.
 */
#ifndef GPU_PARITY_DRAW_H
#define GPU_PARITY_DRAW_H

#include "nn/graph.h"

/* From here on the numbers of that case. */
extern void parity_begin(uint64_t seed, uint64_t which);

extern float parity_draw(float range);			/* in [-range, range) */
extern int parity_between(int least, int most); /* both may come */

/* Values for all parameters that keep activations at about their size. */
extern void parity_fill(NnGraph *g);

/* n pictures that fit g, to be freed. */
extern uint8_t *parity_pictures(const NnGraph *g, int n);

#endif
