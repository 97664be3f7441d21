/*
 * arch_internal.h
 *	  What the files of architectures share.
 */
#ifndef TRAIN_ARCH_INTERNAL_H
#define TRAIN_ARCH_INTERNAL_H

#include "training/arch/arch.h"

/* How weights begin. */
typedef enum ArchInit
{
	INIT_UNIFORM,		  /* +-1/sqrt(fan in): PyTorch's for layers nobody set */
	INIT_KAIMING_FAN_OUT, /* normal, variance 2 / fan out (He et al., 2015) */
	INIT_KAIMING_UNIFORM, /* +-sqrt(6 / fan in) (He et al., 2015) */
	INIT_NORMAL_001,	  /* normal, deviation 0.01 */
	INIT_TRUNCATED_002	  /* normal, deviation 0.02, cut at +-2 */
} ArchInit;

struct Arch
{
	const char *name, *about, *source;
	int size;			   /* side of its pictures */
	int least;			   /* smallest side that it can take */
	int multiple;		   /* both sides are multiples of it; 0 or 1: any */
	int resize;			   /* short side before the crop to `size` */
	bool area;			   /* IMAGE_AREA rather than bicubic */
	float mean[3], std[3]; /* deviations of 0: those of the training pictures */
	bool autoencoder;
	/* Layers that weights from elsewhere lack or have for other classes, "head|aem"; the
	 * first is that of the classes. */
	const char *head;
	ArchParameter parameter[ARCH_MAX_PARAMETERS];
	/* Appends the network after node x (the input), its head included. */
	int (*build)(NnGraph *g, int x, const ArchOptions *o);
	/* Whether the options fit together and the pictures; may be NULL. */
	bool (*check)(const ArchOptions *o, TrainError *err);
	ArchInit convolutions, linears;
	bool biases_uniform; /* biases drawn as INIT_UNIFORM does, else 0 */
	/* What differs from those rules; rng continues; may be NULL. */
	void (*finish)(NnGraph *g, const ArchOptions *o, Rng *rng);
	/* Layers from the pixels to the head, NULL at the end: each has a depth of its own.
	 */
	const char *const *layers;
	/* Or, where it is less simple: depth of a parameter, the head's or -1 for names it
	 * does not know, and how many there are. */
	int (*depth)(const ArchOptions *o, const char *param);
	int (*depths)(const ArchOptions *o);
};

extern const Arch arch_speednet, arch_wrn, arch_resnet18, arch_resnet34, arch_resnet50,
	arch_alexnet, arch_vgg_f, arch_vgg16, arch_vit_ti, arch_vit_s, arch_vit_b,
	arch_squeezenet1_1, arch_ae_vit, arch_swin_t, arch_vae, arch_cvae, arch_csvae,
	arch_vte;

#define IMAGENET_MEAN                                                                    \
	{                                                                                    \
		0.485f, 0.456f, 0.406f                                                           \
	}
#define IMAGENET_STD                                                                     \
	{                                                                                    \
		0.229f, 0.224f, 0.225f                                                           \
	}

/*
 * A parameter for networks whose weights come with either: the colours' mean and
 * deviation of ImageNet (torchvision, DeiT), or 1/2 and 1/2 (the first vision
 * transformers, timm's "augreg").  arch_build follows it.
 */
#define ARCH_COLOURS                                                                     \
	{                                                                                    \
		"colours", "mean and deviation of the colours: ImageNet's, or 1/2",              \
			"imagenet|half", 0, 0, 0, false                                              \
	}

/*
 * A parameter for residual networks: stochastic depth, as timm has it (Huang et al., ECCV
 * 2016).
 */
#define ARCH_DROP_PATH                                                                   \
	{                                                                                    \
		"drop-path",                                                                     \
			"share of the pictures that skip a branch of the last block in training; "   \
			"less in those before",                                                      \
			NULL, 0, 0, 0.9, false                                                       \
	}

/* A branch of block number `block` of `blocks`: none of it is skipped in the first one.
 */
extern int arch_drop_path(NnGraph *g, int branch, double rate, int block, int blocks);

/* A layer's name: arch_layer("blocks.%d.attn.qkv", b).text */
typedef struct ArchLayer
{
	char text[NN_MAX_NAME];
} ArchLayer;

extern ArchLayer arch_layer(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/*
 * The head over vector x: logits of classes by a linear layer called `name`
 * (Arch.head), or bits, or x itself.
 */
extern int arch_head(NnGraph *g, int x, const ArchOptions *o, const char *name);

extern int arch_flatten(NnGraph *g, int x); /* [..] -> [n], in the order of memory */

/* Values of one parameter. */
extern void arch_init_values(NnParam *p, ArchInit how, Rng *rng);
extern void arch_init_conv(NnGraph *g, const char *layer, Rng *rng); /* and its bias */
extern double arch_normal_cut(Rng *rng, double deviation, double limit);
extern NnParam *arch_find_param(NnGraph *g, const char *name); /* NULL: none */

/* What arch_build does with any network: all its layers by the rules of arch. */
extern void arch_initialise(NnGraph *g, const Arch *arch, const ArchOptions *o);

#endif
