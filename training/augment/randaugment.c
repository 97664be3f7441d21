/*
 * randaugment.c
 *	  The operations of RandAugment.
 *
 * Cubuk, Zoph, Shlens, Le: "RandAugment: Practical Automated Data Augmentation with a
 * Reduced Search Space" (CVPRW 2020).  Ranges as torchvision's RandAugment has them: a
 * magnitude of 30 is the whole range, 0 none of it.  Equalise, autocontrast and
 * identity have no strength.
 */
#include "training/augment/augment.h"

#include <math.h>

#define MOST 30.0

typedef enum Op
{
	IDENTITY,
	SHEAR_X,
	SHEAR_Y,
	TRANSLATE_X,
	TRANSLATE_Y,
	ROTATE,
	BRIGHTNESS,
	SATURATION,
	CONTRAST,
	SHARPNESS,
	POSTERISE,
	SOLARISE,
	AUTOCONTRAST,
	EQUALISE,
	NOPS
} Op;

static const char *const names[NOPS] = {
	[IDENTITY] = "identity",		 [SHEAR_X] = "shear-x",
	[SHEAR_Y] = "shear-y",			 [TRANSLATE_X] = "translate-x",
	[TRANSLATE_Y] = "translate-y",	 [ROTATE] = "rotate",
	[BRIGHTNESS] = "brightness",	 [SATURATION] = "saturation",
	[CONTRAST] = "contrast",		 [SHARPNESS] = "sharpness",
	[POSTERISE] = "posterise",		 [SOLARISE] = "solarise",
	[AUTOCONTRAST] = "autocontrast", [EQUALISE] = "equalise",
};

int
augment_nops(void)
{
	return NOPS;
}

const char *
augment_op_name(int op)
{
	return names[op];
}

/* The map from a place in the result to one in the picture. */
static void
affine_of(Op op, double by, int width, int height, double m[6])
{
	double angle = by * 30 * M_PI / 180;

	m[0] = m[4] = 1;
	m[1] = m[2] = m[3] = m[5] = 0;
	switch (op)
	{
		case SHEAR_X:
			m[1] = 0.3 * by;
			break;
		case SHEAR_Y:
			m[3] = 0.3 * by;
			break;
		case TRANSLATE_X:
			m[2] = floor(150.0 / 331 * width * by);
			break;
		case TRANSLATE_Y:
			m[5] = floor(150.0 / 331 * height * by);
			break;
		default:
			m[0] = m[4] = cos(angle);
			m[1] = sin(angle);
			m[3] = -m[1];
	}
}

void
augment_op(int op, double magnitude, int sign, uint8_t *rgb, int width, int height,
		   const uint8_t grey[3], AugmentRoom *room)
{
	size_t npixels = (size_t) width * height;
	double share = magnitude / MOST;
	double by = sign * share;
	double m[6];

	switch ((Op) op)
	{
		case SHEAR_X:
		case SHEAR_Y:
		case TRANSLATE_X:
		case TRANSLATE_Y:
		case ROTATE:
			affine_of((Op) op, by, width, height, m);
			augment_affine(rgb, width, height, m, grey, room);
			break;
		case BRIGHTNESS:
			augment_brightness(rgb, npixels, 1 + 0.9 * by);
			break;
		case SATURATION:
			augment_saturation(rgb, npixels, 1 + 0.9 * by);
			break;
		case CONTRAST:
			augment_contrast(rgb, npixels, 1 + 0.9 * by);
			break;
		case SHARPNESS:
			augment_sharpness(rgb, width, height, 1 + 0.9 * by, room);
			break;
		case POSTERISE:
			augment_posterise(rgb, npixels, 8 - (int) lrint(4 * share));
			break;
		case SOLARISE:
			/* 256 leaves even white alone */
			augment_solarise(rgb, npixels, 256 - (int) lrint(256 * share));
			break;
		case AUTOCONTRAST:
			augment_autocontrast(rgb, npixels);
			break;
		case EQUALISE:
			augment_equalise(rgb, npixels);
			break;
		case IDENTITY:
		case NOPS:
			break;
	}
}
