/*
 * stats.c
 *	  What SQL shows of the service: what the engine reports of itself, the supervisor's
 *	  state; and the reset of the statistics.
 */
#include "encoder/encoder.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(deephash_engine_status);
PG_FUNCTION_INFO_V1(deephash_stats_reset);
PG_FUNCTION_INFO_V1(deephash_supervisor);
PG_FUNCTION_INFO_V1(deephash_ping);

/* What the engine is doing, as jsonb; views spread it out. */
Datum
deephash_engine_status(PG_FUNCTION_ARGS)
{
	EncoderReply reply;

	encoder_call(DEEPHASH_STATUS, NULL, 0, NULL, 0, &reply);
	if (reply.status != DEEPHASH_OK)
		encoder_raise("deephash-encoder gave no status", &reply);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(reply.payload));
}

/* Set the statistics to zero. */
Datum
deephash_stats_reset(PG_FUNCTION_ARGS)
{
	EncoderReply reply;

	encoder_call(DEEPHASH_RESET, NULL, 0, NULL, 0, &reply);
	if (reply.status != DEEPHASH_OK)
		encoder_raise("deephash-encoder did not reset its statistics", &reply);
	PG_RETURN_VOID();
}

/*
 * deephash_supervisor(OUT pid int, OUT state text, OUT reason text): without asking the
 * engine, so that it answers when there is none.
 */
Datum
deephash_supervisor(PG_FUNCTION_ARGS)
{
	Datum value[3] = {0};
	bool isnull[3] = {true, false, true};
	char reason[1024];
	int pid = rundir_supervisor_pid();
	EngineState state = rundir_read_state(pid, reason, sizeof(reason));
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (pid != 0)
	{
		value[0] = Int32GetDatum(pid);
		isnull[0] = false;
	}
	value[1] = CStringGetTextDatum(pid == 0 ? "none" : rundir_state_name(state));
	if (reason[0] != '\0')
	{
		value[2] = CStringGetTextDatum(reason);
		isnull[2] = false;
	}
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), value, isnull)));
}

/* Wait until the encoder serves; true. */
Datum
deephash_ping(PG_FUNCTION_ARGS)
{
	encoder_ping();
	PG_RETURN_BOOL(true);
}
