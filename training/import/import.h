/*
 * import.h
 *	  Weights trained elsewhere: tensors of a safetensors file into a network, by name.
 *
 * Strict: every parameter gets the tensor of its name and shape, and every tensor is
 * used, or the import is refused with all that is missing, surplus or of another shape.
 * README.md says what counts as the same shape and what is left out quietly.
 */
#ifndef TRAIN_IMPORT_H
#define TRAIN_IMPORT_H

#include "training/arch/arch.h"

typedef struct ImportOptions
{
	/* Parameters that the file lacks keep their initial values, tensors that the network
	 * lacks are left out; each is told. */
	bool partial;
	/* The head is the caller's own: its parameters keep their initial values, and the
	 * file's head is left out where it does not fit. */
	bool fresh_head;
	const char *head; /* its layers beside "hash" and "hash_norm" (arch_head_layer) */
	/* Told one line at a time; may be NULL. */
	void (*told)(void *arg, const char *line);
	void *arg;
} ImportOptions;

/*
 * Fill g's parameters from path, which may be a file of timm or torchvision or one of
 * our own models.  All or nothing: on failure g is as it was (unless memory ran out). err
 * sums up, and told has heard every tensor's trouble.
 */
extern bool import_weights(NnGraph *g, const char *path, const ImportOptions *options,
						   TrainError *err);

/*
 * What can be seen from the file of options that are still as usual: the number of
 * classes, the patch, LayerScale, batch norms folded into convolutions.  Each that is
 * changed is told.
 */
extern bool import_look(const Arch *arch, const char *path, ArchOptions *o,
						const ImportOptions *options, TrainError *err);

/*
 * Positions of a vision transformer, [prefix + h w][d], for another grid: the first
 * `prefix` rows (class token) stay, the others are interpolated, bicubic with a = -0.5
 * and, when the grid shrinks, widened windows; weights at the borders are scaled to
 * sum to 1.  So does timm (resample_abs_pos_embed, antialias).  False: out of memory.
 */
extern bool import_positions(const float *from, int from_h, int from_w, float *to,
							 int to_h, int to_w, int prefix, int d);

#endif
