/*
 * status.c
 *	  What the engine tells of itself.
 */
#include "service/serving.h"

#include <stdio.h>
#include <unistd.h>

void
answer_status(Server *server, Client *client)
{
	EngineStats stats;
	char text[1024];

	engine_stats(server->engine, &stats);
	snprintf(text, sizeof(text),
			 "{\"pid\": %d, \"device\": \"%s\", \"uptime_ms\": %lld, \"clients\": %d, "
			 "\"models\": %d, \"model_memory\": %zu, \"requests\": %llu, "
			 "\"images\": %llu, \"batches\": %llu, \"failures\": %llu, "
			 "\"dropped\": %llu, \"queued\": %d, \"buffered\": %lld}",
			 (int) getpid(), server->device,
			 (long long) (now_us() - server->start_us) / 1000, server->nclients,
			 stats.models, stats.model_memory, (unsigned long long) server->served,
			 (unsigned long long) stats.images, (unsigned long long) stats.batches,
			 (unsigned long long) stats.failures, (unsigned long long) stats.dropped,
			 stats.queued + stats.ready, (long long) server->buffered);
	answer_now(server, client, DEEPHASH_OK, text);
}
