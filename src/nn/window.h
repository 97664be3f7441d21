/*
 * window.h
 *	  Geometry of attention in windows, shared with its gradient.
 *
 * The map is first moved by `shift` up and to the left, around its edges, and then cut
 * into windows of window x window places.  In the windows at the lower and right edge
 * places from both ends of the map meet; they do not attend to each other.
 */
#ifndef NN_WINDOW_H
#define NN_WINDOW_H

#include "nn/op.h"

typedef struct NnWindows
{
	int height, width, channels, heads, depth; /* depth: channels of a head */
	int window, shift, places;				   /* places of a window */
	int down, across;						   /* windows of a picture */
} NnWindows;

extern NnWindows nn_windows(const NnNode *node);

/* Place p of window w: its place in the map, in row order. */
extern int nn_window_place(const NnWindows *s, int w, int p);

/* Which part of the map place p of window w is from: places of two parts do not meet. */
extern int nn_window_region(const NnWindows *s, int w, int p);

/* The row of the bias table for query p and key q. */
extern int nn_window_bias(const NnWindows *s, int p, int q);

/* Rows of `row` floats between the map and a window, both ways; back may add. */
extern void nn_window_gather(const NnWindows *s, int w, const float *map, int row,
							 float *to);
extern void nn_window_scatter(const NnWindows *s, int w, const float *from, int row,
							  float *map, bool add);

#endif
