/*
 * synth_scene.c
 *	  Draw one made-up picture: background, clutter, the object, light, camera.
 *
 * Everything is drawn in floating point at twice the size, each edge smoothed by
 * its signed distance, then halved, blurred, lit, given noise and rounded.  Lengths
 * are in units of the picture's side.
 */
#include "training/data/synth.h"
#include "training/data/synth_shape.h"

#include <math.h>
#include <stdlib.h>

#define OVERSAMPLE 2
#define STREAM_SYNTH UINT64_C(0x53594e5448000000)

typedef struct Colour
{
	double r, g, b;
} Colour;

typedef enum Pattern
{
	SOLID,
	STRIPES,
	DOTS,
	CHECKER,
	GRADIENT,
	NOISE,
	NPATTERNS
} Pattern;

typedef struct Texture
{
	Pattern pattern;
	Colour a, b;
	double frequency, cosine, sine, phase;
	uint32_t lattice; /* seed of the noise */
} Texture;

typedef struct Object
{
	const SynthShape *shape;
	double cx, cy, radius;
	double inverse[4];	   /* picture to object coordinates: 2 x 2, after the centre */
	double tilt_x, tilt_y; /* perspective */
	double softness;	   /* object units per drawn pixel */
	Texture texture;
	double light_x, light_y, light;
	double outline; /* width in object units, 0: none */
	Colour outline_colour;
	double shadow_x, shadow_y, shadow; /* offset in object units and darkness */
} Object;

/* A drawing surface of side * side colours. */
typedef struct Canvas
{
	int side;
	Colour *pixel;
} Canvas;

/* ---------------------------------------------------------------------- colours */

static double
between(Rng *rng, double low, double high)
{
	return low + (high - low) * rng_uniform(rng);
}

static Colour
mix(Colour a, Colour b, double t)
{
	return (Colour){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static Colour
scale(Colour c, double by)
{
	return (Colour){c.r * by, c.g * by, c.b * by};
}

static Colour
from_hsv(double hue, double saturation, double value)
{
	double channel[3];

	for (int i = 0; i < 3; i++)
	{
		/* each channel is a trapezoid over the hue circle, a third apart */
		double h = fabs(fmod(hue - i / 3.0 + 2.5, 1) - 0.5) * 6;

		channel[i] = value * (1 - saturation + saturation * fmin(fmax(2 - h, 0), 1));
	}
	return (Colour){channel[0], channel[1], channel[2]};
}

static Colour
random_colour(Rng *rng)
{
	double hue = rng_uniform(rng);
	double saturation = between(rng, 0.1, 0.9);

	return from_hsv(hue, saturation, between(rng, 0.25, 1));
}

/* How different two colours look: brightness counts most. */
static double
contrast(Colour a, Colour b)
{
	double r = a.r - b.r, g = a.g - b.g, blue = a.b - b.b;
	double light = 0.3 * r + 0.6 * g + 0.1 * blue;

	return sqrt(0.12 * (r * r + g * g + blue * blue) + 0.8 * light * light);
}

/* A colour that stands out from two others; of some draws the best if none does. */
static Colour
contrasting(Rng *rng, Colour a, Colour b, double wanted)
{
	Colour best = {0};
	double best_contrast = -1;

	for (int t = 0; t < 40 && best_contrast < wanted; t++)
	{
		Colour c = random_colour(rng);
		double least = fmin(contrast(c, a), contrast(c, b));

		if (least > best_contrast)
		{
			best = c;
			best_contrast = least;
		}
	}
	return best;
}

/* --------------------------------------------------------------------- textures */

static double
lattice_value(uint32_t seed, int x, int y)
{
	uint32_t h = seed ^ ((uint32_t) x * 0x9e3779b1u) ^ ((uint32_t) y * 0x85ebca77u);

	h = (h ^ (h >> 15)) * 0x2c1b3c6du;
	h = (h ^ (h >> 12)) * 0x297a2d39u;
	return (h ^ (h >> 15)) / 4294967296.0;
}

static double
smooth(double t)
{
	t = t < 0 ? 0 : t > 1 ? 1 : t;
	return t * t * (3 - 2 * t);
}

/* Value noise: random values on a lattice, smoothly interpolated; three octaves. */
static double
noise(uint32_t seed, double x, double y)
{
	double sum = 0, weight = 0.5;

	for (int octave = 0; octave < 3; octave++)
	{
		int ix = (int) floor(x), iy = (int) floor(y);
		double tx = smooth(x - ix), ty = smooth(y - iy);
		double top =
			lattice_value(seed, ix, iy) * (1 - tx) + lattice_value(seed, ix + 1, iy) * tx;
		double bottom = lattice_value(seed, ix, iy + 1) * (1 - tx) +
						lattice_value(seed, ix + 1, iy + 1) * tx;

		sum += weight * (top * (1 - ty) + bottom * ty);
		weight /= 2;
		x = x * 2 + 17;
		y = y * 2 + 31;
		seed += 0x6d2b79f5u;
	}
	return sum / 0.875;
}

/* A square wave with soft flanks, 0 .. 1. */
static double
wave(double phase)
{
	return smooth(sin(2 * M_PI * phase) * 1.6 + 0.5);
}

static Colour
texture_at(const Texture *t, double x, double y)
{
	double u = (x * t->cosine + y * t->sine) * t->frequency + t->phase;
	double v = (y * t->cosine - x * t->sine) * t->frequency + t->phase;

	switch (t->pattern)
	{
		case STRIPES:
			return mix(t->a, t->b, wave(u));
		case DOTS:
		{
			double du = u - floor(u) - 0.5, dv = v - floor(v) - 0.5;

			return mix(t->b, t->a, smooth((hypot(du, dv) - 0.2) / 0.12));
		}
		case CHECKER:
		{
			double s = sin(M_PI * u) * sin(M_PI * v);

			return mix(t->a, t->b, smooth(s * 4 + 0.5));
		}
		case GRADIENT:
			return mix(t->a, t->b, smooth((x * t->cosine + y * t->sine) * 0.6 + 0.5));
		case NOISE:
			return mix(t->a, t->b, smooth(noise(t->lattice, u + 50, v + 50) * 2 - 0.5));
		default:
			return t->a;
	}
}

static Texture
random_texture(Rng *rng, Colour a, Colour b)
{
	double angle = between(rng, 0, 2 * M_PI);
	Texture t = {.a = a, .b = b, .cosine = cos(angle), .sine = sin(angle)};

	t.pattern = (Pattern) rng_below(rng, NPATTERNS);
	t.frequency = between(rng, 1.2, 2.6);
	t.phase = rng_uniform(rng);
	t.lattice = (uint32_t) rng_next(rng);
	return t;
}

/* ------------------------------------------------------------------- background */

/* Two colours of the background; what is drawn on it must stand out from both. */
static void
draw_background(Rng *rng, Canvas *canvas, Colour *first, Colour *second)
{
	uint32_t kind = rng_below(rng, 5);
	double angle = between(rng, 0, 2 * M_PI);
	double dx = cos(angle), dy = sin(angle);
	double cx = between(rng, 0.2, 0.8), cy = between(rng, 0.2, 0.8);
	double frequency = between(rng, 1.5, 5);
	uint32_t lattice = (uint32_t) rng_next(rng);

	*first = random_colour(rng);
	*second = mix(*first, random_colour(rng), between(rng, 0.3, 0.8));
	for (int py = 0; py < canvas->side; py++)
		for (int px = 0; px < canvas->side; px++)
		{
			double x = (px + 0.5) / canvas->side, y = (py + 0.5) / canvas->side;
			double along = (x - 0.5) * dx + (y - 0.5) * dy;
			double t;

			if (kind == 0) /* one colour fades into another */
				t = smooth(along + 0.5);
			else if (kind == 1) /* a glow */
				t = smooth(hypot(x - cx, y - cy) * 1.3);
			else if (kind == 2) /* ground and sky */
				t = smooth((along + (cx - 0.5) * 0.6) * 18 + 0.5) * 0.8 +
					noise(lattice, x * 9, y * 9) * 0.2;
			else if (kind == 3) /* soft bands */
				t = 0.5 + 0.5 * sin(2 * M_PI * along * frequency);
			else /* clouds */
				t = smooth(noise(lattice, x * frequency, y * frequency) * 2 - 0.5);
			canvas->pixel[py * canvas->side + px] = mix(*first, *second, t);
		}
}

/* ---------------------------------------------------------------------- objects */

/* Turn, mirror, stretch and shear: picture = centre + M object; keep M's inverse. */
static void
place_object(Rng *rng, Object *o, double cx, double cy, double radius, int side)
{
	double angle = between(rng, 0, 2 * M_PI);
	double stretch = exp(between(rng, -0.25, 0.25));
	double shear = between(rng, -0.25, 0.25);
	double flip = rng_below(rng, 2) ? 1 : -1;
	double a = radius * stretch * flip, b = radius * shear, d = radius / stretch;
	double c = cos(angle), s = sin(angle);
	double m[4] = {c * a, c * b - s * d, s * a, s * b + c * d};
	double det = m[0] * m[3] - m[1] * m[2];

	o->cx = cx;
	o->cy = cy;
	o->radius = radius;
	o->inverse[0] = m[3] / det;
	o->inverse[1] = -m[1] / det;
	o->inverse[2] = -m[2] / det;
	o->inverse[3] = m[0] / det;
	o->tilt_x = between(rng, -0.22, 0.22);
	o->tilt_y = between(rng, -0.22, 0.22);
	o->softness = 1 / (radius * side);
}

static void
dress_object(Rng *rng, Object *o, Colour a, Colour b)
{
	double angle = between(rng, 0, 2 * M_PI);

	o->texture = random_texture(rng, a, b);
	o->light_x = cos(angle);
	o->light_y = sin(angle);
	o->light = between(rng, 0.05, 0.3);
	o->outline = rng_below(rng, 3) == 0 ? between(rng, 0.05, 0.11) : 0;
	o->outline_colour =
		rng_below(rng, 2) ? scale(a, 0.35) : mix(a, (Colour){1, 1, 1}, 0.7);
	o->shadow = rng_below(rng, 3) ? between(rng, 0.2, 0.5) : 0;
	angle = between(rng, 0, 2 * M_PI);
	o->shadow_x = 0.16 * cos(angle);
	o->shadow_y = 0.16 * sin(angle);
}

/* Signed distance of a point of the picture, and the point in object coordinates. */
static double
object_distance(const Object *o, double x, double y, double *ox, double *oy)
{
	double dx = x - o->cx, dy = y - o->cy;
	double u = o->inverse[0] * dx + o->inverse[1] * dy;
	double v = o->inverse[2] * dx + o->inverse[3] * dy;
	double depth = 1 + o->tilt_x * u + o->tilt_y * v;

	depth = fmax(depth, 0.3);
	*ox = u / depth;
	*oy = v / depth;
	return o->shape->distance(*ox, *oy);
}

static void
shade_pixel(const Object *o, double x, double y, Colour *pixel)
{
	double ox, oy, d, cover;
	Colour c;

	if (o->shadow > 0)
	{
		d = object_distance(o, x - o->shadow_x * o->radius, y - o->shadow_y * o->radius,
							&ox, &oy);
		*pixel = scale(*pixel, 1 - o->shadow * smooth(0.5 - d / 0.35));
	}
	d = object_distance(o, x, y, &ox, &oy);
	cover = smooth(0.5 - d / (2 * o->softness));
	if (cover <= 0)
		return;
	c = texture_at(&o->texture, ox, oy);
	if (o->outline > 0)
		c = mix(c, o->outline_colour, smooth((d + o->outline) / (2 * o->softness) + 0.5));
	c = scale(c, 1 + o->light * (ox * o->light_x + oy * o->light_y) -
					 0.15 * smooth(1 + d / 0.2));
	*pixel = mix(*pixel, c, cover);
}

static void
draw_object(const Object *o, Canvas *canvas)
{
	/* stretch, shear, perspective and shadow reach at most this far */
	double reach = o->radius * 2.2;
	int left = (int) fmax((o->cx - reach) * canvas->side, 0);
	int right = (int) fmin((o->cx + reach) * canvas->side, canvas->side - 1);
	int top = (int) fmax((o->cy - reach) * canvas->side, 0);
	int bottom = (int) fmin((o->cy + reach) * canvas->side, canvas->side - 1);

	for (int py = top; py <= bottom; py++)
		for (int px = left; px <= right; px++)
			shade_pixel(o, (px + 0.5) / canvas->side, (py + 0.5) / canvas->side,
						&canvas->pixel[py * canvas->side + px]);
}

/* Small things of any shape that are not what the picture is of. */
static void
draw_clutter(Rng *rng, Canvas *canvas, int n, Colour first, Colour second)
{
	for (int i = 0; i < n; i++)
	{
		Object o = {.shape = &synth_shapes[rng_below(rng, (uint32_t) synth_nshapes)]};
		double cx = rng_uniform(rng), cy = rng_uniform(rng);
		Colour a = mix(random_colour(rng), rng_below(rng, 2) ? first : second,
					   between(rng, 0, 0.5));

		place_object(rng, &o, cx, cy, between(rng, 0.04, 0.1), canvas->side);
		dress_object(rng, &o, a, random_colour(rng));
		draw_object(&o, canvas);
	}
}

static void
draw_subject(Rng *rng, Canvas *canvas, int c, Colour first, Colour second)
{
	Object o = {.shape = &synth_shapes[c]};
	double radius = between(rng, 0.25, 0.41);
	double room = 0.5 - 0.75 * radius;
	double cx = 0.5 + between(rng, -room, room), cy = 0.5 + between(rng, -room, room);
	Colour a = contrasting(rng, first, second, 0.34);
	Colour b = contrasting(rng, first, second, 0.22);

	/* half of the second colours are shades of the first */
	if (rng_below(rng, 2))
		b = mix(a, rng_below(rng, 2) ? (Colour){1, 1, 1} : (Colour){0, 0, 0}, 0.4);
	place_object(rng, &o, cx, cy, radius, canvas->side);
	dress_object(rng, &o, a, b);
	draw_object(&o, canvas);
}

/* ----------------------------------------------------------------------- camera */

/* Average each OVERSAMPLE x OVERSAMPLE block in place. */
static void
shrink(Canvas *canvas)
{
	int side = canvas->side / OVERSAMPLE;

	for (int y = 0; y < side; y++)
		for (int x = 0; x < side; x++)
		{
			Colour sum = {0};

			for (int i = 0; i < OVERSAMPLE * OVERSAMPLE; i++)
			{
				const Colour *c =
					&canvas->pixel[(y * OVERSAMPLE + i / OVERSAMPLE) * canvas->side +
								   x * OVERSAMPLE + i % OVERSAMPLE];

				sum = (Colour){sum.r + c->r, sum.g + c->g, sum.b + c->b};
			}
			canvas->pixel[y * side + x] = scale(sum, 1.0 / (OVERSAMPLE * OVERSAMPLE));
		}
	canvas->side = side;
}

/* One pass of a Gaussian along rows (step 1) or columns (step side). */
static void
blur_lines(Canvas *canvas, const double *kernel, int reach, int step, Colour *line)
{
	int side = canvas->side;
	int next = step == 1 ? side : 1;

	for (int l = 0; l < side; l++)
	{
		Colour *at = canvas->pixel + l * next;

		for (int i = 0; i < side; i++)
			line[i] = at[i * step];
		for (int i = 0; i < side; i++)
		{
			Colour sum = {0};

			for (int k = -reach; k <= reach; k++)
			{
				int from = i + k < 0 ? 0 : i + k >= side ? side - 1 : i + k;
				double w = kernel[k + reach];

				sum.r += w * line[from].r;
				sum.g += w * line[from].g;
				sum.b += w * line[from].b;
			}
			at[i * step] = sum;
		}
	}
}

static bool
blur(Canvas *canvas, double sigma)
{
	double kernel[129];
	double total = 0;
	int reach = (int) ceil(3 * sigma);
	Colour *line;

	if (sigma < 0.2)
		return true;
	reach = reach > 64 ? 64 : reach;
	line = malloc((size_t) canvas->side * sizeof *line);
	if (line == NULL)
		return false;
	for (int k = -reach; k <= reach; k++)
		total += kernel[k + reach] = exp(-k * k / (2 * sigma * sigma));
	for (int k = 0; k <= 2 * reach; k++)
		kernel[k] /= total;
	blur_lines(canvas, kernel, reach, 1, line);
	blur_lines(canvas, kernel, reach, canvas->side, line);
	free(line);
	return true;
}

static uint8_t
to_byte(double v)
{
	return (uint8_t) (v <= 0 ? 0 : v >= 1 ? 255 : floor(v * 255 + 0.5));
}

/* Exposure, contrast, white balance, dark corners, grain; then to bytes. */
static void
develop(Rng *rng, const Canvas *canvas, uint8_t *rgb)
{
	double gain = between(rng, 0.7, 1.2), lift = between(rng, -0.1, 0.1);
	Colour balance = {between(rng, 0.9, 1.1), 1, between(rng, 0.9, 1.1)};
	double corners = between(rng, 0, 0.5), grain = between(rng, 0, 0.045);

	for (int y = 0; y < canvas->side; y++)
		for (int x = 0; x < canvas->side; x++)
		{
			double u = (x + 0.5) / canvas->side - 0.5, v = (y + 0.5) / canvas->side - 0.5;
			double dim = 1 - corners * (u * u + v * v);
			Colour c = canvas->pixel[y * canvas->side + x];
			double channel[3] = {c.r * balance.r, c.g * balance.g, c.b * balance.b};

			for (int i = 0; i < 3; i++)
				*rgb++ = to_byte(((channel[i] - 0.5) * gain + 0.5 + lift) * dim +
								 grain * rng_normal(rng));
		}
}

bool
synth_render(int c, int number, int size, uint64_t seed, Image *out, TrainError *err)
{
	Canvas canvas = {size * OVERSAMPLE, NULL};
	size_t pixels = (size_t) canvas.side * canvas.side;
	Colour first, second;
	Rng rng;
	bool ok;

	*out = (Image){0};
	if (c < 0 || c >= synth_nshapes || number < 0)
		return train_fail(err, "there is no picture %d of class %d", number, c);
	if (size < SYNTH_MIN_SIZE || size > SYNTH_MAX_SIZE)
		return train_fail(err, "pictures of %d pixels: expected %d to %d", size,
						  SYNTH_MIN_SIZE, SYNTH_MAX_SIZE);
	rng_seed(&rng, seed,
			 STREAM_SYNTH ^ ((uint64_t) c << 32 | (uint64_t) (uint32_t) number));
	canvas.pixel = malloc(pixels * sizeof *canvas.pixel);
	out->rgb = malloc((size_t) size * size * 3);
	if (canvas.pixel == NULL || out->rgb == NULL)
	{
		free(canvas.pixel);
		free(out->rgb);
		out->rgb = NULL;
		return train_fail(err, "out of memory: a picture of %d pixels wants %zu bytes",
						  size, pixels * sizeof *canvas.pixel);
	}
	out->width = out->height = size;
	draw_background(&rng, &canvas, &first, &second);
	draw_clutter(&rng, &canvas, (int) rng_below(&rng, 7), first, second);
	draw_subject(&rng, &canvas, c, first, second);
	if (rng_below(&rng, 3) == 0)
		draw_clutter(&rng, &canvas, 1, first, second);
	shrink(&canvas);
	ok = blur(&canvas, between(&rng, 0, 0.9) * size / 64);
	if (ok)
		develop(&rng, &canvas, out->rgb);
	else
	{
		train_fail(err, "out of memory");
		image_free(out);
	}
	free(canvas.pixel);
	return ok;
}
