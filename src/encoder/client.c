/*
 * client.c
 *	  What sessions ask the engine, and what they make of its answers.
 */
#include "encoder/encoder.h"

void
encoder_call(DeephashKind kind, const uint8 *model, uint32 flags, const void *payload,
			 size_t length, EncoderReply *reply)
{
	EncoderItem item = {.payload = payload, .length = length};

	encoder_exchange(kind, model, flags, &item, 1);
	*reply = item.reply;
}

void
encoder_ping(void)
{
	EncoderReply reply;

	encoder_call(DEEPHASH_PING, NULL, 0, NULL, 0, &reply);
	if (reply.status != DEEPHASH_OK)
		encoder_raise("deephash-encoder does not serve", &reply);
}

/* ---------------------------------------------------------------------- errors */

static int
sqlstate_of(DeephashStatus status)
{
	static const int code[DEEPHASH_STATUS_COUNT] = {
		[DEEPHASH_NO_MODEL] = ERRCODE_UNDEFINED_FILE,
		[DEEPHASH_BAD_MODEL] = ERRCODE_INVALID_PARAMETER_VALUE,
		[DEEPHASH_BAD_IMAGE] = ERRCODE_INVALID_BINARY_REPRESENTATION,
		[DEEPHASH_TOO_LARGE] = ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		[DEEPHASH_NO_MEMORY] = ERRCODE_OUT_OF_MEMORY,
		[DEEPHASH_DEVICE] = ERRCODE_SYSTEM_ERROR,
		[DEEPHASH_BUSY] = ERRCODE_TOO_MANY_CONNECTIONS,
		[DEEPHASH_BAD_REQUEST] = ERRCODE_PROTOCOL_VIOLATION,
	};

	return code[status];
}

void
encoder_raise(const char *wanted, const EncoderReply *reply)
{
	Assert(reply->status != DEEPHASH_OK);
	ereport(ERROR, (errcode(sqlstate_of(reply->status)),
					errmsg("%s: %s", wanted, reply->payload),
					reply->status == DEEPHASH_NO_MEMORY && encoder_memory_limit > 0
						? errhint("deephash.memory_limit is %d MB.", encoder_memory_limit)
						: 0));
	pg_unreachable();
}

/* Is the file small enough to be sent?  If not, item is given the reason. */
static bool
small_enough(EncoderItem *item)
{
	if (item->length <= (size_t) encoder_max_image_size * 1024)
		return true;
	item->reply.status = DEEPHASH_TOO_LARGE;
	item->reply.payload =
		psprintf("it has %zu bytes, more than deephash.max_image_size (%d kB)",
				 item->length, encoder_max_image_size);
	return false;
}

/* Raise errors that are the engine's or the model's fault and not the image's. */
static void
check_answer(const ModelEntry *model, uint32 flags, const EncoderReply *reply)
{
	if (reply->status == DEEPHASH_BAD_IMAGE)
		return;
	if (reply->status != DEEPHASH_OK)
		encoder_raise(
			psprintf("cannot encode image with model \"%s\"", NameStr(model->name)),
			reply);
	if (reply->bits != model->bits ||
		reply->length !=
			hamming_bytes(reply->bits) +
				(flags & DEEPHASH_WANT_LOGITS ? reply->bits * sizeof(float4) : 0))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("deephash-encoder answered with %d bits in %zu bytes, but model "
						"\"%s\" has %d bits",
						reply->bits, reply->length, NameStr(model->name), model->bits)));
}

void
encoder_encode_many(const ModelEntry *model, uint32 flags, EncoderItem *item, int n)
{
	EncoderItem *asked = palloc(n * sizeof(EncoderItem));
	int *which = palloc(n * sizeof(int));
	int nasked = 0;

	for (int i = 0; i < n; i++)
	{
		if (small_enough(&item[i]))
			which[nasked++] = i;
	}
	/* Again for a cached model that vanished or was not there yet. */
	for (int attempt = 0; nasked > 0; attempt++)
	{
		int again = 0;

		for (int i = 0; i < nasked; i++)
			asked[i] = item[which[i]];
		encoder_exchange(DEEPHASH_ENCODE, model->sha256, flags, asked, nasked);
		for (int i = 0; i < nasked; i++)
		{
			item[which[i]].reply = asked[i].reply;
			if (asked[i].reply.status == DEEPHASH_NO_MODEL && attempt < 2)
				which[again++] = which[i];
			else
				check_answer(model, flags, &asked[i].reply);
		}
		if (again > 0)
			model_fill_cache(model);
		nasked = again;
	}
	pfree(asked);
	pfree(which);
}

bool
encoder_accept(const EncoderReply *reply, const char *which)
{
	bool go_on = encoder_bad_image == BAD_IMAGE_WARNING;

	if (reply->status == DEEPHASH_OK)
		return true;
	ereport(
		go_on ? WARNING : ERROR,
		(errcode(sqlstate_of(reply->status)),
		 errmsg("cannot encode %s: %s", which, reply->payload),
		 go_on
			 ? 0
			 : errhint("With deephash.bad_image = 'warning' such an image gives NULL.")));
	return false;
}

bool
encoder_encode(const ModelEntry *model, const bytea *image, uint32 flags,
			   EncoderReply *reply)
{
	EncoderItem item = {.payload = VARDATA_ANY(image),
						.length = VARSIZE_ANY_EXHDR(image)};

	encoder_encode_many(model, flags, &item, 1);
	*reply = item.reply;
	return encoder_accept(reply, "image");
}
