/*
 * learner.h
 *	  A network in training, on any device: forward, backward, update.
 *
 * A learner takes a graph and owns the training of it: activations, gradients, the
 * optimiser's moments and the average of the weights lie where the device wants
 * them.  The losses stay with the caller, on the host, in double: they need the outputs
 * alone, which are small.  One step is
 *
 *		forward(batch)					outputs on the host
 *		backward(gradients of the outputs)	adds up the gradients of parameters
 *		not_finite()						before anything is spoilt
 *		update()							moves the weights
 *		average()							moves their average
 *
 * with forward and backward repeated for each part where the batch is cut into parts
 * (accumulate).  A learner does not know the number of the step: what depends on it
 * comes in NnUpdate.  So a run that is resumed writes the tensors back and goes on.
 *
 * The CPU's learner is training/learner/cpu.c.  A plug-in exports NN_LEARNER_ENTRY
 * beside NN_DEVICE_ENTRY (device.h); it may do without.
 *
 * Functions that can fail return false (or NULL) and fill err; a learner that failed
 * may only be closed.  One caller at a time per learner.
 */
#ifndef NN_LEARNER_H
#define NN_LEARNER_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C"
{
#endif

#define NN_LEARNER_API 2

	typedef struct NnPool NnPool; /* pool.h */

	typedef enum NnUpdateKind
	{
		NN_SGD,	 /* Nesterov momentum, L2 in the gradient; MOMENT1 */
		NN_ADAMW /* decoupled decay; MOMENT1, MOMENT2 */
	} NnUpdateKind;

	typedef struct NnLearnerOptions
	{
		int max_batch;		   /* pictures of one forward pass, >= 1 */
		NnPrecision precision; /* any but NN_FP16; weights and sums are float32 always */
		bool deterministic;	   /* same bits in every run on this device */
		bool recompute;		   /* less memory: see README.md of training */
		NnUpdateKind update;   /* which moments to keep */
		bool average;		   /* keep an average of the weights */
		NnPool *pool;		   /* the CPU's threads; borrowed, may be NULL */
	} NnLearnerOptions;

	typedef struct NnBatch
	{
		const uint8_t *images; /* n of the input node's shape; good until backward */
		int n;				   /* 1 .. max_batch */
		int first;			   /* its first picture's number in the step's batch */
		uint64_t seed;		   /* of the step: dropout, sampled codes (nn/random.h) */
		float momentum;		   /* weight of this batch in running statistics */
	} NnBatch;

	typedef struct NnUpdate
	{
		double rate;
		double momentum;		  /* SGD */
		double beta1, beta2, eps; /* AdamW */
		int64_t step;			  /* AdamW: updates with this one, from 1 */
		double decay;
		double clip; /* longest gradient over all parameters; 0: any */
		/* per parameter of the graph, multipliers of rate and decay */
		const double *rate_of, *decay_of;
	} NnUpdate;

	typedef enum NnPart
	{
		NN_VALUE,
		NN_MOMENT1,
		NN_MOMENT2,
		NN_AVERAGE,
		NN_GRADIENT /* read only; of the last backward, before clipping */
	} NnPart;

	typedef struct NnLearner NnLearner; /* of the device's own making */

	typedef struct NnLearnerDevice
	{
		int api;		  /* NN_LEARNER_API of the header it was compiled with */
		const char *name; /* "cpu", "cuda" */

		/* As NnDevice.probe: can it train here, and with what, or why not. */
		bool (*probe)(char *text, size_t size);

		/*
		 * Begin from the values in graph: moments are zero, the average is the values.
		 * The graph must outlive the learner; its values are the learner's from here
		 * on, and only read shows what they are.  err names what is not supported (the
		 * precision, the layer), or how many bytes were wanted and what to lower.
		 */
		NnLearner *(*open)(NnGraph *graph, const NnLearnerOptions *options, NnError *err);
		void (*close)(NnLearner *learner); /* NULL is fine */

		/*
		 * out[k] is set to output k (nn_graph_output_node): batch->n rows of its
		 * node's size, float32, on the host, the learner's own memory, good until the
		 * next forward.  train: batch norms use this batch's statistics and move the
		 * running ones, dropout drops; backward may follow.
		 */
		bool (*forward)(NnLearner *learner, const NnBatch *batch, bool train,
						const float *out[NN_MAX_OUTPUTS], NnError *err);

		/*
		 * From the gradients of the outputs of the last forward (train) pass, on the
		 * host, rows as above, NULL for an output without one, to those of the
		 * trainable parameters; accumulate: added to what the last call left.  Once
		 * for each forward pass, whose values it may use up.  It may return before
		 * the device is done: what is read next waits.
		 */
		bool (*backward)(NnLearner *learner, const float *const *grad_out,
						 bool accumulate, NnError *err);

		/*
		 * Is anything of the last forward and backward passes not finite: 1 and the
		 * name of the output's layer (nn_layer_name) or of the parameter whose gradient
		 * it is; 0: no;
		 * -1: the device failed (err).
		 */
		int (*not_finite)(NnLearner *learner, char *name, size_t size, NnError *err);

		/*
		 * One update by the gradients.  norm, where not NULL, gets the length of the
		 * whole gradient before clipping, or 0 where clip is 0.
		 */
		bool (*update)(NnLearner *learner, const NnUpdate *update, double *norm,
					   NnError *err);

		/*
		 * average += weight (value - average), for all parameters, running statistics
		 * included; back: then value = average.  Needs options.average.
		 */
		bool (*average)(NnLearner *learner, double weight, bool back, NnError *err);

		/* Is there such a part of a parameter? */
		bool (*has)(const NnLearner *learner, int param, NnPart part);

		/* Copy it out of, or into, host: as many floats as the parameter has, in its
		 * layout in the graph. */
		bool (*read)(NnLearner *learner, int param, NnPart part, float *host,
					 NnError *err);
		bool (*write)(NnLearner *learner, int param, NnPart part, const float *host,
					  NnError *err);

		size_t (*memory)(const NnLearner *learner); /* bytes it holds, for one step */

		/*
		 * NULL where it would gain nothing.  Begin to bring the n pictures of the next
		 * forward pass to the device while that works: the pass that is given the same
		 * images and n then finds them there.  They are good until that pass.
		 */
		bool (*stage)(NnLearner *learner, const uint8_t *images, int n, NnError *err);
	} NnLearnerDevice;

#define NN_LEARNER_ENTRY "deephash_learner"
	typedef const NnLearnerDevice *(*NnLearnerEntry)(void);

	/* The plug-in's (device.c); NULL and err when it cannot be had. */
	extern const NnLearnerDevice *nn_plugin_learner(const char *plugin_dir, NnError *err);

#ifdef __cplusplus
}
#endif

#endif
