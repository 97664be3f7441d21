/*
 * device.h
 *	  Where a network runs: the CPU, or a plug-in.
 *
 * A device takes a graph once (repacking weights, planning one arena for the
 * largest batch) and then runs batches without allocating.  The plug-in
 * deephash-cuda.so exports one symbol, NN_DEVICE_ENTRY; programs open it with
 * dlopen and go on without it when it, or a GPU, is not there.
 *
 * There are two ways to use one.  load and run give logits, one batch at a time, in
 * float32: to train, to measure, to compare.  A device that works beside the CPU also has
 * serve, submit and wait: codes come back, several batches are under way, so that copies
 * and computing overlap, and the precision may be lower.  Where serve is NULL, the
 * others of its kind are, too.
 */
#ifndef NN_DEVICE_H
#define NN_DEVICE_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C"
{
#endif

#define NN_DEVICE_API 4

	typedef struct NnNet NnNet; /* one loaded network, of the device's own making */

	/* How a network is to serve. */
	typedef struct NnServing
	{
		int max_batch; /* pictures, >= 1 */
		int threads;   /* for devices that use some */
		NnPrecision precision;
		const float *thresholds; /* one for each logit; NULL: zeros.  Outlive the net */
		bool graphs;   /* record a batch's launches, once for each size, where it can */
		size_t memory; /* bytes it should do with, as far as it can; 0: any number */
	} NnServing;

	/* Batches of one net that may be under way. */
#define NN_STAGES 2

	/* A logit of the picture is not a number or infinite: its code means nothing. */
#define NN_NOT_FINITE UINT32_MAX

	/* Host memory that a batch goes through, of the device's making. */
	typedef struct NnStage
	{
		uint8_t *images;  /* max_batch pictures of the input node's shape: to fill */
		uint8_t *codes;	  /* (logits + 7) / 8 bytes each, the bits as hamming_pack's */
		float *logits;	  /* of each picture, if they were asked for */
		uint32_t *doubts; /* of each picture: bits whose logit lies so close to its
						   * threshold that another device may decide otherwise
						   * (tolerance.h), or NN_NOT_FINITE */
	} NnStage;

	typedef struct NnDevice
	{
		int api;		  /* NN_DEVICE_API of the header it was compiled with */
		const char *name; /* "cpu", "cuda" */

		/*
		 * Can it run here?  Fills text with what it found ("2 threads, OpenBLAS
		 * ...", "NVIDIA ..., 80 GB") or why not.
		 */
		bool (*probe)(char *text, size_t size);

		/*
		 * Make graph runnable for batches of 1 .. max_batch.  The graph and its
		 * parameters must outlive the net.  threads is for devices that use some.
		 */
		NnNet *(*load)(const NnGraph *graph, int max_batch, int threads, NnError *err);

		/*
		 * images: n pictures of the input node's shape, uint8.  out: n times the
		 * last node's output, float32.  One caller at a time per net, unless callers is
		 * set: then several are welcome, and pictures one by one take no longer than
		 * batches.
		 */
		bool (*run)(NnNet *net, const uint8_t *images, int n, float *out, NnError *err);

		size_t (*memory)(const NnNet *net); /* bytes the net holds on the device */
		void (*unload)(NnNet *net);

		/*
		 * What memory() will say at the least once the graph is loaded, or served where
		 * serve is there (and then exactly), without taking any.  What a driver and its
		 * libraries hold themselves is in neither.
		 * 0 if it cannot be loaded, which loading explains.
		 */
		size_t (*estimate)(const NnGraph *graph, const NnServing *how);

		/* ------------------------------- of devices that work beside the CPU */

		/* As load.  Such a net may not be given to run. */
		NnNet *(*serve)(const NnGraph *graph, const NnServing *how, NnError *err);
		NnStage *(*stage)(NnNet *net, int k); /* 0 .. NN_STAGES - 1 */

		/*
		 * Send the n pictures in stage k on their way; false: nothing is on its way.
		 * wait returns when the answers to them are in the stage, which is free again.
		 * Batches end in the order in which they were sent.  One thread may submit
		 * while another waits.
		 */
		bool (*submit)(NnNet *net, int k, int n, bool logits, NnError *err);
		bool (*wait)(NnNet *net, int k, NnError *err);

		NnPrecision usual; /* the precision to serve in where nobody chose one */
		bool callers;	   /* several threads may run one net at once */
	} NnDevice;

#define NN_DEVICE_ENTRY "deephash_device"
	typedef const NnDevice *(*NnDeviceEntry)(void);

	extern const NnDevice nn_cpu_device;

	/*
	 * The device called name: "cpu", "cuda", or "auto" (the best that probes well).
	 * Plug-ins are looked for in plugin_dir (NULL: beside the running program).
	 * NULL and err when it cannot be had.
	 */
	extern const NnDevice *nn_device(const char *name, const char *plugin_dir,
									 NnError *err);

#ifdef __cplusplus
}
#endif

#endif
