/*
 * network.h
 *	  The network of a run: architecture, first weights, how its pictures are prepared.
 */
#ifndef TRAIN_NETWORK_H
#define TRAIN_NETWORK_H

#include "training/arch/arch.h"
#include "training/run/options.h"

/*
 * Write into options->arch what the file of first weights shows (patches, folded batch
 * norms); told gets a line for each.  Without such a file nothing changes.
 */
extern bool network_look(TrainOptions *options, void (*told)(const char *line),
						 TrainError *err);

/*
 * The network with a hash layer of options->bits for the pictures of ds, its parameters
 * drawn from the seed and then, but for the hash layer, taken from options->pretrained.
 */
extern NnGraph *network_new(const TrainOptions *options, const Dataset *ds,
							TrainError *err);

/* The same without parameters' values, to count with. */
extern NnGraph *network_shapes(const TrainOptions *options, TrainError *err);

/* Is it the speed net, whose width can be chosen? */
extern bool network_is_speednet(const TrainOptions *options);

/* Side of the pictures when nobody says: what it was made for, or for the speed net
 * what suits the data. */
extern int network_default_size(const TrainOptions *options);

/* How pictures are prepared for the network, and how they are kept for training. */
extern ImagePreprocess network_preprocess(const TrainOptions *options);
extern ImagePreprocess network_stored(const TrainOptions *options);

/* The learning rate of a parameter by its layer: options->layer_decay to the power of
 * its distance from the head. */
extern double network_rate_of(const TrainOptions *options, const char *param);

/* "speednet-32-96-128", "vit-ti patch=14" */
extern const char *network_label(const TrainOptions *options, char *text, size_t size);

#endif
