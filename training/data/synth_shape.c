/*
 * synth_shape.c
 *	  Signed distance functions of the shapes.
 */
#include "training/data/synth_shape.h"

#include <math.h>
#include <stdbool.h>

typedef struct Point
{
	double x, y;
} Point;

/*
 * Distance from a polygon: the nearest edge, with the sign from how often a ray to
 * the right crosses the outline (even-odd).
 */
static double
polygon(const Point *v, int n, double x, double y)
{
	double nearest = INFINITY;
	bool inside = false;

	for (int i = 0, j = n - 1; i < n; j = i++)
	{
		double ex = v[j].x - v[i].x, ey = v[j].y - v[i].y;
		double wx = x - v[i].x, wy = y - v[i].y;
		double t = (wx * ex + wy * ey) / (ex * ex + ey * ey);

		t = t < 0 ? 0 : t > 1 ? 1 : t;
		wx -= t * ex;
		wy -= t * ey;
		if (wx * wx + wy * wy < nearest)
			nearest = wx * wx + wy * wy;
		if ((v[i].y > y) != (v[j].y > y) &&
			x < v[i].x + (y - v[i].y) * (v[j].x - v[i].x) / (v[j].y - v[i].y))
			inside = !inside;
	}
	return inside ? -sqrt(nearest) : sqrt(nearest);
}

#define POLYGON(v, x, y) polygon(v, (int) (sizeof(v) / sizeof((v)[0])), x, y)

/*
 * A polygon whose n corners lie on circles of radius outer and inner in turn.  By
 * symmetry every point is folded into the sector of one edge, from the outer
 * corner on the axis to the inner one.
 */
static double
wheel(int n, double outer, double inner, double x, double y)
{
	double sector = 2 * M_PI / n;
	double r = hypot(x, y);
	double angle = fmod(fabs(atan2(x, -y)), 2 * sector);
	double ix = inner * cos(sector), iy = inner * sin(sector);
	double ex = ix - outer, ey = iy;
	double wx, wy, t, distance;

	angle = fmin(angle, 2 * sector - angle);
	wx = r * cos(angle) - outer;
	wy = r * sin(angle);
	t = (wx * ex + wy * ey) / (ex * ex + ey * ey);
	t = t < 0 ? 0 : t > 1 ? 1 : t;
	distance = hypot(wx - t * ex, wy - t * ey);
	return ex * wy - ey * wx > 0 ? -distance : distance;
}

static double
disc(double x, double y)
{
	return hypot(x, y) - 0.84;
}

static double
ring(double x, double y)
{
	return fabs(hypot(x, y) - 0.68) - 0.22;
}

static double
square(double x, double y)
{
	static const Point v[] = {{-0.72, -0.72}, {0.72, -0.72}, {0.72, 0.72}, {-0.72, 0.72}};

	return POLYGON(v, x, y);
}

static double
triangle(double x, double y)
{
	static const Point v[] = {{0, -0.98}, {0.86, 0.5}, {-0.86, 0.5}};

	return POLYGON(v, x, y);
}

static double
star(double x, double y)
{
	return wheel(10, 1.0, 0.42, x, y);
}

static double
cross(double x, double y)
{
	static const Point v[] = {{-0.28, -0.94}, {0.28, -0.94},  {0.28, -0.28},
							  {0.94, -0.28},  {0.94, 0.28},	  {0.28, 0.28},
							  {0.28, 0.94},	  {-0.28, 0.94},  {-0.28, 0.28},
							  {-0.94, 0.28},  {-0.94, -0.28}, {-0.28, -0.28}};

	return POLYGON(v, x, y);
}

static double
crescent(double x, double y)
{
	return fmax(hypot(x, y) - 0.92, 0.72 - hypot(x - 0.46, y));
}

static double
arrow(double x, double y)
{
	static const Point v[] = {{0, -0.98},	 {0.72, -0.18},	 {0.28, -0.18}, {0.28, 0.92},
							  {-0.28, 0.92}, {-0.28, -0.18}, {-0.72, -0.18}};

	return POLYGON(v, x, y);
}

static double
hexagon(double x, double y)
{
	return wheel(6, 0.92, 0.92, x, y);
}

/* The usual parametric heart, 32 points of it: x = 16 sin^3 t,
 * y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, moved and scaled. */
static double
heart(double x, double y)
{
	static const Point v[] = {
		{0.000, -0.417},  {0.007, -0.459},	{0.050, -0.567},  {0.152, -0.694},
		{0.314, -0.784},  {0.511, -0.795},	{0.701, -0.714},  {0.839, -0.559},
		{0.889, -0.361},  {0.839, -0.154},	{0.701, 0.044},	  {0.511, 0.226},
		{0.314, 0.395},	  {0.152, 0.550},	{0.050, 0.682},	  {0.007, 0.773},
		{0.000, 0.806},	  {-0.007, 0.773},	{-0.050, 0.682},  {-0.152, 0.550},
		{-0.314, 0.395},  {-0.511, 0.226},	{-0.701, 0.044},  {-0.839, -0.154},
		{-0.889, -0.361}, {-0.839, -0.559}, {-0.701, -0.714}, {-0.511, -0.795},
		{-0.314, -0.784}, {-0.152, -0.694}, {-0.050, -0.567}, {-0.007, -0.459}};

	return POLYGON(v, x, y);
}

/* A disc with the tangents to a point above it. */
static double
drop(double x, double y)
{
	static const Point v[] = {{0, -1}, {0.475, 0.05}, {0, 0.6}, {-0.475, 0.05}};

	return fmin(hypot(x, y - 0.36) - 0.58, POLYGON(v, x, y));
}

static double
bolt(double x, double y)
{
	static const Point v[] = {{0.3, -0.98},	 {-0.62, 0.16}, {-0.08, 0.16},
							  {-0.32, 0.98}, {0.62, -0.22}, {0.08, -0.22}};

	return POLYGON(v, x, y);
}

static double
gear(double x, double y)
{
	return fmax(wheel(24, 0.98, 0.66, x, y), 0.3 - hypot(x, y));
}

static double
half(double x, double y)
{
	return fmax(hypot(x, y + 0.36) - 0.9, -(y + 0.36));
}

static double
flower(double x, double y)
{
	double r = 0.66 + 0.3 * cos(5 * atan2(y, x));

	return (hypot(x, y) - r) * 0.55;
}

static double
tee(double x, double y)
{
	static const Point v[] = {{-0.7, -0.72},  {0.7, -0.72}, {0.7, -0.22},
							  {0.26, -0.22},  {0.26, 0.92}, {-0.26, 0.92},
							  {-0.26, -0.22}, {-0.7, -0.22}};

	return POLYGON(v, x, y);
}

const SynthShape synth_shapes[] = {
	{"disc", disc},			{"ring", ring},	  {"square", square},
	{"triangle", triangle}, {"star", star},	  {"cross", cross},
	{"crescent", crescent}, {"arrow", arrow}, {"hexagon", hexagon},
	{"heart", heart},		{"drop", drop},	  {"bolt", bolt},
	{"gear", gear},			{"half", half},	  {"flower", flower},
	{"tee", tee},
};

const int synth_nshapes = (int) (sizeof synth_shapes / sizeof synth_shapes[0]);
