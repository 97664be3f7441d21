/*
 * exchange.c
 *	  Questions to the engine and its answers, many on their way at a time.
 *
 * Requests are sent in order, answers come in any.  Any ERROR in the middle closes
 * the connection, which is also how the engine learns that nobody waits.
 */
#include "encoder/connection.h"

#include "miscadmin.h"
#include "storage/latch.h"

typedef struct Exchange
{
	DeephashRequest head; /* what all requests have in common */
	EncoderItem *item;
	int n;
	uint64 first_id; /* item i's id on this connection is first_id + i */
	bool *answered;
	int nanswered;
	int first; /* items before it are answered */

	/* sending: items below next are sent, or answered on an earlier connection */
	int next, in_flight;
	bool begun; /* the header of item next is in out */
	DeephashRequest out;
	size_t sent; /* bytes of header and payload */
	bool deaf;	 /* the engine reads no more; its answers may still be there */

	/* receiving */
	DeephashReply in;
	size_t have; /* bytes of header and payload */
	char *payload;

	bool leaving; /* the engine has said why it will hang up: send it nothing more */
	int retries;  /* left after an engine's death */
	TimestampTz deadline;
} Exchange;

static uint64 last_id = 0;

/* Begin (again) with what has no answer yet, on a new connection. */
static void
start_over(Exchange *x)
{
	connection_open(x->deadline);
	x->first_id = last_id + 1;
	last_id += x->n;
	x->next = x->first;
	x->in_flight = 0;
	x->begun = x->deaf = x->leaving = false;
	x->have = 0;
	x->payload = NULL;
}

/* Header and payload in one call, so that the engine wakes up once. */
static ssize_t
send_rest(const Exchange *x, const EncoderItem *item)
{
	size_t of_head = Min(x->sent, sizeof(x->out));
	size_t of_payload = x->sent - of_head;
	struct iovec part[2] = {
		{.iov_base = (char *) &x->out + of_head, .iov_len = sizeof(x->out) - of_head},
		{.iov_base = (char *) item->payload + of_payload,
		 .iov_len = item->length - of_payload}};

	return connection_send(part, lengthof(part));
}

/* True if a byte was sent. */
static bool
send_some(Exchange *x)
{
	const EncoderItem *item;
	ssize_t n;

	while (x->next < x->n && x->answered[x->next])
		x->next++;
	if (x->deaf || x->leaving || x->next == x->n || x->in_flight == DEEPHASH_WINDOW)
		return false;
	item = &x->item[x->next];
	if (!x->begun)
	{
		x->out = x->head;
		x->out.id = x->first_id + x->next;
		x->out.length = item->length;
		x->sent = 0;
		x->begun = true;
	}
	n = send_rest(x, item);
	if (n < 0)
	{
		x->deaf = true;
		return false;
	}
	x->sent += n;
	if (x->sent == sizeof(x->out) + item->length)
	{
		x->begun = false;
		x->next++;
		x->in_flight++;
	}
	return n > 0;
}

/* What a header says: the item it answers, or NULL if it is said to the connection. */
static EncoderItem *
check_header(Exchange *x)
{
	const DeephashReply *in = &x->in;
	uint64 i = in->id - x->first_id;
	bool ours = in->kind == x->head.kind && i < (uint64) x->n && !x->answered[i] &&
				in->status < DEEPHASH_STATUS_COUNT;
	bool unasked = in->kind == 0 && in->id == 0 &&
				   (in->status == DEEPHASH_CLOSING || in->status == DEEPHASH_BUSY);

	if (in->magic != DEEPHASH_REPLY_MAGIC || in->length > DEEPHASH_MAX_REPLY ||
		(in->version == DEEPHASH_PROTOCOL_VERSION && !ours && !unasked))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("deephash-encoder gave an answer that makes no sense")));
	if (in->version != DEEPHASH_PROTOCOL_VERSION)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("deephash-encoder speaks version %d of the protocol, this library "
					"version %d",
					in->version, DEEPHASH_PROTOCOL_VERSION),
			 errhint("After an upgrade, restart the server.")));
	return ours ? &x->item[i] : NULL;
}

/* A whole answer has come. */
static void
take_answer(Exchange *x)
{
	EncoderItem *item = check_header(x);
	EncoderReply reply = {(DeephashStatus) x->in.status, (int) x->in.bits, x->payload,
						  x->in.length};

	x->have = 0;
	x->payload = NULL;
	/* After these it may read no further. */
	if (reply.status == DEEPHASH_CLOSING || reply.status == DEEPHASH_TOO_LARGE ||
		reply.status == DEEPHASH_NO_MEMORY || reply.status == DEEPHASH_BAD_REQUEST)
		x->leaving = true;
	/* An answer may come before its request was read to the end. */
	if (item && item < &x->item[x->next])
		x->in_flight--;
	/* Its successor will answer. */
	if (reply.status == DEEPHASH_CLOSING)
		return;
	if (item == NULL)
		encoder_raise("deephash-encoder does not serve", &reply);
	item->reply = reply;
	x->answered[item - x->item] = true;
	x->nanswered++;
	while (x->first < x->n && x->answered[x->first])
		x->first++;
	x->deadline = connection_deadline();
}

/* True if a byte came; *hung_up if none will come any more. */
static bool
receive_some(Exchange *x, bool *hung_up)
{
	ssize_t n;

	if (x->have < sizeof(x->in))
		n = connection_receive((char *) &x->in + x->have, sizeof(x->in) - x->have);
	else
		n = connection_receive(x->payload + x->have - sizeof(x->in),
							   x->in.length - (x->have - sizeof(x->in)));
	*hung_up = n < 0;
	if (n <= 0)
		return false;
	x->have += n;
	if (x->have == sizeof(x->in))
	{
		(void) check_header(x);
		x->payload = palloc(x->in.length + 1);
		x->payload[x->in.length] = '\0';
	}
	if (x->have >= sizeof(x->in) && x->have == sizeof(x->in) + x->in.length)
		take_answer(x);
	return true;
}

/* The engine is gone before all was answered. */
static void
after_hang_up(Exchange *x)
{
	connection_close();
	if (x->leaving)
	{
		connection_wait(0, CONNECTION_RETRY_MS, x->deadline);
		return;
	}
	if (x->retries-- > 0)
		return;
	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("deephash-encoder died while it worked on this request"),
					errdetail("Nothing else is affected; the next call finds a new one."),
					errhint("The server log says why it died.")));
}

static void
run_exchange(Exchange *x)
{
	if (connection_is_good())
	{
		x->first_id = last_id + 1;
		last_id += x->n;
	}
	else
		start_over(x);
	while (x->nanswered < x->n)
	{
		bool hung_up, sending;
		bool moved = send_some(x);

		CHECK_FOR_INTERRUPTS();
		if (receive_some(x, &hung_up) || moved)
			continue;
		if (hung_up || (x->leaving && x->in_flight == 0))
		{
			after_hang_up(x);
			start_over(x);
			continue;
		}
		sending = x->begun && !x->deaf && !x->leaving;
		connection_wait(WL_SOCKET_READABLE | (sending ? WL_SOCKET_WRITEABLE : 0), -1,
						x->deadline);
	}
	/* What it did not read to the end would be taken for the next request. */
	if (x->deaf || x->leaving || x->begun)
		connection_close();
}

void
encoder_exchange(DeephashKind kind, const uint8 *model, uint32 flags, EncoderItem *item,
				 int n)
{
	Exchange x = {.head = {.magic = DEEPHASH_REQUEST_MAGIC,
						   .version = DEEPHASH_PROTOCOL_VERSION,
						   .kind = kind,
						   .flags = flags},
				  .item = item,
				  .n = n,
				  .retries = encoder_retry ? 1 : 0,
				  .deadline = connection_deadline()};

	if (n == 0)
		return;
	if (model)
		memcpy(x.head.model, model, DEEPHASH_SHA256_BYTES);
	x.answered = palloc0(n * sizeof(bool));
	PG_TRY();
	{
		run_exchange(&x);
	}
	PG_CATCH();
	{
		connection_close();
		PG_RE_THROW();
	}
	PG_END_TRY();
	pfree(x.answered);
}
