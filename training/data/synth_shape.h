/*
 * synth_shape.h
 *	  The shapes that name the classes of made-up pictures.
 */
#ifndef TRAIN_SYNTH_SHAPE_H
#define TRAIN_SYNTH_SHAPE_H

typedef struct SynthShape
{
	const char *name;
	/*
	 * Signed distance of (x, y) from the outline, negative inside; the shape fits in
	 * the circle of radius 1 about the origin.  Exact for polygons, close enough to
	 * draw a smooth edge for the others.
	 */
	double (*distance)(double x, double y);
} SynthShape;

extern const SynthShape synth_shapes[];
extern const int synth_nshapes;

#endif
