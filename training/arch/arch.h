/*
 * arch.h
 *	  Network architectures by name, built as graphs with initial parameters.
 *
 * An architecture (`Arch`) is one file that reads like its paper's figure.  It has a
 * few parameters of its own (patch, stem, ...), which ArchOptions carries beside what
 * all have: the picture's size, the head, the seed.
 *
 *		ArchOptions options;
 *		const Arch *arch = arch_find("vit-ti");
 *		arch_defaults(arch, &options);
 *		arch_set(arch, &options, "patch", "14", &err);
 *		options.head = ARCH_HASH, options.outputs = 64;
 *		graph = arch_build(arch, &options, &err);
 *
 * Parameters have the names that timm and torchvision give them, so that weights
 * trained elsewhere come in by name (import.h).
 */
#ifndef TRAIN_ARCH_H
#define TRAIN_ARCH_H

#include "nn/graph.h"
#include "training/data/dataset.h"
#include "training/train.h"

#define ARCH_MAX_PARAMETERS 8

typedef enum ArchHead
{
	ARCH_FEATURES, /* none: the vector that a head would read */
	ARCH_CLASSES,  /* one logit per class */
	ARCH_HASH	   /* one logit per bit: linear without bias, batch norm with scale 1 and
					* shift 0 ("hash", "hash_norm") */
} ArchHead;

/* A parameter of one architecture. */
typedef struct ArchParameter
{
	const char *name;	 /* as in a recipe */
	const char *about;	 /* one line */
	const char *choices; /* "imagenet|cifar": the value is the place; NULL: a number */
	double initial;
	double low, high; /* of a number, both allowed */
	bool whole;		  /* a number without fraction */
} ArchParameter;

typedef struct ArchOptions
{
	int height, width; /* of the pictures; 0: what the architecture was made for */
	ArchHead head;
	int outputs;					   /* classes or bits */
	double value[ARCH_MAX_PARAMETERS]; /* in the order of Arch.parameter */
	float mean[3], std[3];			   /* of the colours, in units of 0 .. 1 */
	const Dataset *pictures; /* for networks that look at them to begin with; or NULL */
	uint64_t seed;			 /* of the initial parameters */
	bool shapes_only;		 /* parameters without data: to count, or to plan */
} ArchOptions;

typedef struct Arch Arch;

extern const Arch *arch_find(const char *name); /* NULL: unknown */
extern const Arch *arch_at(int i);				/* NULL past the end */

extern const char *arch_name_of(const Arch *arch);
extern const char *arch_about(const Arch *arch);  /* one line */
extern const char *arch_source(const Arch *arch); /* the paper and the code followed */
extern const ArchParameter *arch_parameter(const Arch *arch, int i); /* NULL past them */

/* Layers that weights from elsewhere have for other classes, or not at all: "fc", or
 * several with | between, the first of them the reference's head.  NULL: none. */
extern const char *arch_head_layer(const Arch *arch);

/*
 * Trained to give a picture back: it makes codes only, and has four outputs, the code's
 * mean, the logarithm of its variance, the logits of the reconstruction, and the grey
 * picture that it should be (loss/vae.h).
 */
extern bool arch_is_autoencoder(const Arch *arch);

/* Everything as the reference has it: 1000 classes, its size, its colours. */
extern void arch_defaults(const Arch *arch, ArchOptions *options);

/* Set a parameter from text; the error names the key and what it may be. */
extern bool arch_set(const Arch *arch, ArchOptions *options, const char *key,
					 const char *value, TrainError *err);

/* Value of a parameter by name; the architecture must have it. */
extern double arch_value(const Arch *arch, const ArchOptions *options, const char *key);

/*
 * The network; NULL and an error that names what does not fit.  The features, logits
 * or bits are output 0.
 */
extern NnGraph *arch_build(const Arch *arch, const ArchOptions *options, TrainError *err);

/* "vit-ti patch=14" into text: the name, and the parameters that are not as usual. */
extern const char *arch_label(const Arch *arch, const ArchOptions *options, char *text,
							  size_t size);

/* The reverse: architecture and its parameters; the rest of options is untouched. */
extern const Arch *arch_from_label(const char *label, ArchOptions *options,
								   TrainError *err);

/*
 * Layer-wise learning rates: the depth of a parameter, 0 nearest to the pixels, and
 * the number of depths; the head has the deepest, arch_depths() - 1.
 */
extern int arch_depth_of(const Arch *arch, const ArchOptions *options, const char *param);
extern int arch_depths(const Arch *arch, const ArchOptions *options);

/* How pictures are prepared for it: the side before the crop, and the crop. */
extern ImagePreprocess arch_preprocess(const Arch *arch, const ArchOptions *options);

/* ------------------------------------------------------------------ speed net */

/*
 * The narrow network for small pictures: a fixed whitening convolution 2x2, three
 * blocks of two 3x3 convolutions with max-pool 2 after the first of each, batch norm
 * with fixed scale and GELU, a last max-pool over what remains, then the hash layer
 * (linear without bias, batch norm without scale or shift).
 */
typedef struct SpeednetShape
{
	int height, width; /* of the input; at least 24 */
	int bits;
	int channels[3]; /* of the blocks */
} SpeednetShape;

extern const char *speednet_name(const SpeednetShape *shape, char *text, size_t size);

/*
 * Parameters are drawn from seed; the whitening filters and the input's mean and
 * deviation come from the pictures of ds.
 */
extern NnGraph *speednet_new(const SpeednetShape *shape, const Dataset *ds, uint64_t seed,
							 TrainError *err);

/* Mean and standard deviation of each colour over ds, in units of 0 .. 1. */
extern void arch_colour_moments(const Dataset *ds, float mean[3], float std[3]);

/* The 12 eigenvectors of normalised 2x2 patches scaled to unit variance, and their
 * negatives: 24 filters [24][3][2][2]. */
extern void arch_whitening(const Dataset *ds, const float mean[3], const float std[3],
						   uint64_t seed, float *weight);

/* Symmetric n x n a (destroyed): eigenvalues, and eigenvectors as rows. n <= 16. */
extern void arch_eigen(int n, double *a, double *values, double *vectors);

#endif
