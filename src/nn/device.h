/*
 * device.h
 *	  Where a network runs: the CPU, or a plug-in.
 *
 * A device takes a graph once (repacking weights, planning one arena for the
 * largest batch) and then runs batches without allocating.  The plug-in
 * deephash-cuda.so exports one symbol, NN_DEVICE_ENTRY; programs open it with
 * dlopen and go on without it when it, or a GPU, is not there.
 */
#ifndef NN_DEVICE_H
#define NN_DEVICE_H

#include "nn/nn.h"

#ifdef __cplusplus
extern "C"
{
#endif

#define NN_DEVICE_API 1

	typedef struct NnNet NnNet; /* one loaded network, of the device's own making */

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
		 * last node's output, float32.  One caller at a time per net.
		 */
		bool (*run)(NnNet *net, const uint8_t *images, int n, float *out, NnError *err);

		size_t (*memory)(const NnNet *net); /* bytes the net holds on the device */
		void (*unload)(NnNet *net);
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
