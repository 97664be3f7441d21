/*
 * stream.h
 *	  Streams beside the machine's own, events between them, and recordings (CUDA graphs);
 *	  on the host, for tests, everything happens at once.
 */
#ifndef GPU_STREAM_H
#define GPU_STREAM_H

#include "gpu/memory.h"

/* What a recording runs: on the host it is called again instead. */
typedef bool (*Work)(void *context, int n, NnError *err);

#ifdef __CUDACC__

typedef cudaStream_t Stream;
typedef cudaEvent_t Event;
typedef cudaGraphExec_t Recording;

static inline bool
stream_open(Stream *stream, NnError *err)
{
	return cuda_ok(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), err,
				   "making a stream");
}

static inline void
stream_close(Stream stream)
{
	if (!stream)
		return;
	cudaStreamSynchronize(stream);
	cudaStreamDestroy(stream);
	cudaGetLastError();
}

static inline Stream
stream_of(const Machine *m)
{
	return m->stream;
}

/* Whoever waits for it sleeps: decoding wants the processor. */
static inline bool
event_open(Event *event, NnError *err)
{
	return cuda_ok(
		cudaEventCreateWithFlags(event, cudaEventDisableTiming | cudaEventBlockingSync),
		err, "making an event");
}

static inline void
event_close(Event event)
{
	if (event)
		cudaEventDestroy(event);
}

/* The event comes when all that was queued so far is done. */
static inline bool
stream_marks(Stream stream, Event event, NnError *err)
{
	return cuda_ok(cudaEventRecord(event, stream), err, "recording an event");
}

/* What is queued from here on waits for the event. */
static inline bool
stream_follows(Stream stream, Event event, NnError *err)
{
	return cuda_ok(cudaStreamWaitEvent(stream, event, 0), err, "following an event");
}

static inline bool
event_wait(Event event, NnError *err)
{
	return cuda_ok(cudaEventSynchronize(event), err, "running the network");
}

static inline bool
stream_up(Stream stream, void *to, const void *from, size_t bytes, NnError *err)
{
	return cuda_ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), err,
				   "copying to the GPU");
}

static inline bool
stream_down(Stream stream, void *to, const void *from, size_t bytes, NnError *err)
{
	return cuda_ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), err,
				   "copying from the GPU");
}

/* A recording that failed leaves no trace: neither errors nor the state of the stream. */
static inline bool
record(Machine *m, Recording *recording, Work work, void *context, int n, NnError *err)
{
	cudaGraph_t graph = NULL;
	cudaError_t code;
	bool ok;

	/* Other threads may load networks meanwhile. */
	code = cudaStreamBeginCapture(m->stream, cudaStreamCaptureModeThreadLocal);
	if (code != cudaSuccess)
		return cuda_ok(code, err, "beginning a graph");
	ok = work(context, n, err);
	code = cudaStreamEndCapture(m->stream, &graph);
	if (ok)
		ok = cuda_ok(code, err, "ending a graph") &&
			 cuda_ok(cudaGraphInstantiate(recording, graph, 0), err, "making a graph");
	if (graph)
		cudaGraphDestroy(graph);
	if (!ok)
	{
		m->status = CUBLAS_STATUS_SUCCESS;
		cudaGetLastError();
	}
	return ok;
}

static inline bool
replay(Machine *m, Recording recording, Work, void *, int, NnError *err)
{
	return cuda_ok(cudaGraphLaunch(recording, m->stream), err, "launching a graph");
}

/* It may still run. */
static inline void
forget(Machine *m, Recording recording)
{
	cudaStreamSynchronize(m->stream);
	cudaGraphExecDestroy(recording);
	cudaGetLastError();
}

#else

typedef int Stream;
typedef int Event;
typedef int Recording; /* the size of the batch */

/* For tests: so many recordings fail; how many were made, replayed and forgotten. */
struct HostRecordings
{
	int to_fail, made, replayed, forgotten;
};
extern "C" HostRecordings gpu_host_recordings;

static inline bool
stream_open(Stream *stream, NnError *)
{
	*stream = 1;
	return true;
}

static inline void
stream_close(Stream)
{
}

static inline Stream
stream_of(const Machine *)
{
	return 1;
}

static inline bool
event_open(Event *event, NnError *)
{
	*event = 1;
	return true;
}

static inline void
event_close(Event)
{
}

static inline bool
stream_marks(Stream, Event, NnError *)
{
	return true;
}

static inline bool
stream_follows(Stream, Event, NnError *)
{
	return true;
}

static inline bool
event_wait(Event, NnError *)
{
	return true;
}

static inline bool
stream_up(Stream, void *to, const void *from, size_t bytes, NnError *)
{
	memcpy(to, from, bytes);
	return true;
}

static inline bool
stream_down(Stream, void *to, const void *from, size_t bytes, NnError *)
{
	memcpy(to, from, bytes);
	return true;
}

/* As on the GPU, nothing runs while it is recorded. */
static inline bool
record(Machine *m, Recording *recording, Work work, void *context, int n, NnError *err)
{
	bool ok;

	m->dry = true;
	ok = work(context, n, err);
	m->dry = false;
	if (gpu_host_recordings.to_fail > 0)
	{
		gpu_host_recordings.to_fail--;
		return nn_fail(err, "a recording that is to fail");
	}
	gpu_host_recordings.made++;
	*recording = n;
	return ok;
}

static inline bool
replay(Machine *, Recording recording, Work work, void *context, int n, NnError *err)
{
	gpu_host_recordings.replayed++;
	if (recording != n)
		return nn_fail(err, "a recording of %d for a batch of %d", recording, n);
	return work(context, n, err);
}

static inline void
forget(Machine *, Recording)
{
	gpu_host_recordings.forgotten++;
}

#endif

#endif
