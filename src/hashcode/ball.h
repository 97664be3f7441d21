/*
 * ball.h
 *	  Inside the folder: balls of the Hamming space.
 */
#ifndef HASHCODE_BALL_H
#define HASHCODE_BALL_H

#include "hashcode/hashcode.h"

/* A ball; the radius is checked and brought down to the length of the centre. */
extern HashBall *hashball_make(int nbits, const uint8 *bits, int32 radius);

/* Distance from the centre within the radius; different lengths are an error. */
extern bool hashball_holds(const HashBall *ball, const HashCode *code);

/* Distance of the centres; different lengths are an error. */
extern int32 hashball_centre_distance(const HashBall *a, const HashBall *b);

/*
 * The radius to use for codes of nbits bits: a negative one is an error, one past
 * nbits means every code.
 */
extern int hashball_check_radius(int32 radius, int nbits);

#endif
