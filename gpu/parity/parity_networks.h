/*
 * parity_networks.h
 *	  The networks that a comparison runs.
 */
#ifndef GPU_PARITY_NETWORKS_H
#define GPU_PARITY_NETWORKS_H

#include "nn/graph.h"

/* A picture, or where channels > 0 a map of so many, for ops that want others than 3. */
extern NnGraph *parity_start(int height, int width, int channels, int *x);

/* For inference: a ViT of so many blocks; convolutions, norms and pools; ops drawn at
 * random while the picture lasts, then a head. */
extern NnGraph *parity_vit(int size, int patch, int dim, int heads, int blocks);
extern NnGraph *parity_cnn(void);
extern NnGraph *parity_random_network(void);

/* For training, small, together of every operation: name, or NULL past the last. */
extern NnGraph *parity_network(int i, const char **name);

#endif
