/*
 * status.c
 *	  What the engine tells of itself: the JSON that answers STATUS.
 */
#include "service/sandbox.h"
#include "service/serving.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Names of errors in the JSON; what is no fault of anybody has none. */
static const char *const error_name[DEEPHASH_STATUS_COUNT] = {
	[DEEPHASH_BAD_MODEL] = "bad_model",		[DEEPHASH_BAD_IMAGE] = "bad_image",
	[DEEPHASH_TOO_LARGE] = "too_large",		[DEEPHASH_NO_MEMORY] = "no_memory",
	[DEEPHASH_DEVICE] = "device",			[DEEPHASH_BUSY] = "busy",
	[DEEPHASH_BAD_REQUEST] = "bad_request",
};

static void
write_times(FILE *out, const char *name, const Histogram *times)
{
	fprintf(out,
			", \"%s\": {\"p50\": %" PRIu64 ", \"p95\": %" PRIu64 ", \"p99\": %" PRIu64
			", \"max\": %" PRIu64 "}",
			name, histogram_percentile(times, 0.5), histogram_percentile(times, 0.95),
			histogram_percentile(times, 0.99), times->max);
}

/* Since the last RESET, or the engine's start; times in microseconds. */
static void
write_stats(FILE *out, const Server *server, const EngineTimes *times)
{
	const Kept *kept = server->kept;
	const char *comma = "";

	fprintf(out,
			", \"stats\": {\"ms\": %" PRId64 ", \"uptime_ms\": %" PRId64
			", \"restarts\": %" PRIu64 ", \"requests\": %" PRIu64 ", \"images\": %" PRIu64
			", \"batches\": %" PRIu64 ", \"dropped\": %" PRIu64
			", \"largest_batch\": %" PRIu64 ", \"doubtful_bits\": %" PRIu64,
			(wall_us() - kept->since) / 1000, (now_us() - server->start_us) / 1000,
			kept->restarts, kept->encode_answers, times->batch.sum, times->batch.count,
			times->dropped, times->batch.max, times->doubtful_bits);
	write_times(out, "queue_us", &times->queue);
	write_times(out, "decode_us", &times->decode);
	write_times(out, "compute_us", &times->compute);
	fputs(", \"errors\": {", out);
	for (int i = 0; i < DEEPHASH_STATUS_COUNT; i++)
	{
		if (error_name[i] == NULL || kept->answers[i] == 0)
			continue;
		fprintf(out, "%s\"%s\": %" PRIu64, comma, error_name[i], kept->answers[i]);
		comma = ", ";
	}
	fputs("}}", out);
}

static void
write_models(FILE *out, const ModelUse *model, int n)
{
	fputs(", \"resident\": [", out);
	for (int i = 0; i < n; i++)
	{
		fprintf(out, "%s{\"sha256\": \"", i > 0 ? ", " : "");
		for (int k = 0; k < DEEPHASH_SHA256_BYTES; k++)
			fprintf(out, "%02x", model[i].sha256[k]);
		fprintf(out,
				"\", \"bits\": %d, \"memory\": %zu, \"batch\": %d, \"users\": %d, "
				"\"idle_ms\": %" PRId64 "}",
				model[i].bits, model[i].memory, model[i].max_batch, model[i].users,
				model[i].idle_us / 1000);
	}
	fputs("]", out);
}

static void
write_status(FILE *out, Server *server, const EngineStats *stats)
{
	fprintf(
		out,
		"{\"pid\": %d, \"device\": \"%s\", \"precision\": \"%s\", \"uptime_ms\": %" PRId64
		", \"clients\": %d, \"models\": %d, \"model_memory\": %zu"
		", \"requests\": %" PRIu64 ", \"images\": %" PRIu64 ", \"batches\": %" PRIu64
		", \"failures\": %" PRIu64 ", \"dropped\": %" PRIu64
		", \"queued\": %d, \"buffered\": %" PRId64 ", \"device_memory\": %" PRId64
		", \"sandbox\": \"%s\", \"memory\": %" PRId64 ", \"memory_limit\": %" PRId64,
		(int) getpid(), server->device, precision_name(stats->precision),
		(now_us() - server->start_us) / 1000, server->nclients, stats->models,
		stats->model_memory, server->served, stats->images, stats->batches,
		stats->failures, stats->dropped, stats->queued + stats->ready, server->buffered,
		server->config->device_memory, server->sandbox,
		memory_private(server->statm) - server->start_memory,
		server->config->memory_limit);
}

void
answer_status(Server *server, Client *client)
{
	EngineStats stats;
	EngineTimes *times = malloc(sizeof(*times));
	int nmodels = 0;
	ModelUse *model = engine_models(server->engine, &nmodels);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool good = times != NULL && model != NULL && out != NULL;

	if (good)
	{
		engine_stats(server->engine, &stats);
		engine_times(server->engine, times);
		pthread_mutex_lock(&server->lock);
		write_status(out, server, &stats);
		write_stats(out, server, times);
		write_models(out, model, nmodels);
		pthread_mutex_unlock(&server->lock);
		fputs("}", out);
	}
	if (out && fclose(out) != 0)
		good = false;
	if (good)
		answer_now(server, client, DEEPHASH_OK, text);
	else
		answer_now(server, client, DEEPHASH_NO_MEMORY, "out of memory");
	free(text);
	free(model);
	free(times);
}

void
reset_stats(Server *server)
{
	engine_times_reset(server->engine);
	pthread_mutex_lock(&server->lock);
	kept_reset(server->kept);
	pthread_mutex_unlock(&server->lock);
}
