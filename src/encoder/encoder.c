/*
 * encoder.c
 *	  Settings of the encoder, and the functions that turn images into codes.
 */
#include "encoder/encoder.h"

#include <limits.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "deephash.h"
#include "hashcode/hashcode.h"

PG_FUNCTION_INFO_V1(deephash_encode);
PG_FUNCTION_INFO_V1(deephash_embed);

int encoder_device;
char *encoder_program;
int encoder_timeout;
int encoder_threads;
int encoder_batch_size;
double encoder_batch_wait;
int encoder_precision;
bool encoder_cuda_graphs;
int encoder_device_memory;
int encoder_max_image_size;
int encoder_max_image_pixels;
bool encoder_sandbox;
bool encoder_core_dumps;
int encoder_memory_limit;
int encoder_engine_timeout;
bool encoder_retry;
int encoder_bad_image;

/* ------------------------------------------------------------------ settings */

static const struct config_enum_entry device_options[] = {
	{"auto", 0, false}, {"cuda", 1, false}, {"cpu", 2, false}, {NULL, 0, false}};

static const struct config_enum_entry precision_options[] = {
	{"auto", 0, false}, {"float32", 1, false}, {"tf32", 2, false},
	{"bf16", 3, false}, {"fp16", 4, false},	   {NULL, 0, false}};

static const struct config_enum_entry bad_image_options[] = {
	{"error", BAD_IMAGE_ERROR, false},
	{"warning", BAD_IMAGE_WARNING, false},
	{NULL, 0, false}};

const char *
encoder_device_name(void)
{
	return device_options[encoder_device].name;
}

const char *
encoder_precision_name(void)
{
	return precision_options[encoder_precision].name;
}

static bool
check_program(char **value, void **extra, GucSource source)
{
	if ((*value)[0] == '\0' || is_absolute_path(*value))
		return true;
	GUC_check_errdetail("The path of the program must be absolute.");
	return false;
}

static void
define_settings(void)
{
	DefineCustomEnumVariable("deephash.device", "Where networks run.",
							 "auto takes a GPU if one can be used, else the CPU.",
							 &encoder_device, 0, device_options, PGC_SIGHUP, 0, NULL,
							 NULL, NULL);
	DefineCustomStringVariable(
		"deephash.encoder_program", "Path of the program deephash-encoder.",
		"Empty means the one that was installed beside the library.", &encoder_program,
		"", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_program, NULL, NULL);
	DefineCustomIntVariable("deephash.encode_timeout",
							"Longest time to wait for the encoder's answer.",
							"Zero turns the limit off.", &encoder_timeout, 60000, 0,
							INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"deephash.bad_image", "What encoding an image that is refused gives.",
		"error, or warning: a warning and NULL.", &encoder_bad_image, BAD_IMAGE_ERROR,
		bad_image_options, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"deephash.encode_retry",
		"Ask once more, without an error, when the encoder dies.",
		"The image may be what killed it: then the retry kills the next one, too.",
		&encoder_retry, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"deephash.engine_timeout",
		"Replace an encoder that does not answer, or whose device does not return.",
		"Zero turns that off, for debuggers.", &encoder_engine_timeout, 30000, 0, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("deephash.encoder_threads",
							"Threads that decode images, and threads of the CPU device.",
							"Zero means one per CPU.", &encoder_threads, 0, 0, 256,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("deephash.batch_size", "Most images of one forward pass.",
							NULL, &encoder_batch_size, 32, 1, 1024, PGC_SIGHUP, 0, NULL,
							NULL, NULL);
	DefineCustomRealVariable("deephash.batch_wait",
							 "How long a batch waits for images that are being decoded.",
							 "With none on their way it does not wait.",
							 &encoder_batch_wait, 1.0, 0.0, 1000.0, PGC_SIGHUP,
							 GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomEnumVariable("deephash.precision", "What a GPU computes networks in.",
							 "auto is fp16; the CPU always computes in float32.",
							 &encoder_precision, 0, precision_options, PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"deephash.cuda_graphs", "Let CUDA record what a batch of some size launches.",
		"Off means that each batch launches everything again, which is slower.",
		&encoder_cuda_graphs, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"deephash.device_memory", "Memory that the models in use may take together.",
		"Those used least recently leave it first.", &encoder_device_memory, 1024, 16,
		INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("deephash.max_image_size",
							"Largest image, in bytes of its file.", NULL,
							&encoder_max_image_size, 65536, 1, 1024 * 1024, PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("deephash.max_image_pixels",
							"Largest image, in pixels (width times height).", NULL,
							&encoder_max_image_pixels, 100000000, 1, INT_MAX, PGC_SIGHUP,
							0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"deephash.sandbox",
		"Forbid the encoder files, networks, other processes and programs.",
		"deephash_service shows which parts of it are active.", &encoder_sandbox, true,
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"deephash.memory_limit",
		"Memory that the encoder may take, beyond what it starts with.",
		"On the CPU that includes deephash.device_memory. Zero turns the limit off.",
		&encoder_memory_limit, 4096, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL,
		NULL);
	DefineCustomBoolVariable(
		"deephash.core_dumps", "Let an encoder that crashes leave a core file.",
		"It may hold images and codes; while this is on, debuggers can attach.",
		&encoder_core_dumps, false, PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

void
encoder_init(void)
{
	define_settings();
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
		supervisor_register();
}

/* ----------------------------------------------------------------- functions */

/* Arguments (image, model): the reply, or NULL for a NULL image (or a bad one). */
static const EncoderReply *
encode_arguments(FunctionCallInfo fcinfo, uint32 flags)
{
	const EncoderReply *known;
	EncoderReply reply;
	ModelEntry model;
	bytea *image;

	if (PG_ARGISNULL(0))
		return NULL;
	model_find(model_schema(fcinfo),
			   PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)), &model);
	image = PG_GETARG_BYTEA_PP(0);
	known = recent_find(&model, image, flags);
	if (known)
		return known;
	if (!encoder_encode(&model, image, flags, &reply))
		return NULL;
	return recent_add(&model, image, flags, &reply);
}

Oid
encoder_hashcode_type(Oid schema)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("hashcode"),
							   ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("type hashcode of extension deephash is missing")));
	return type;
}

Datum
encoder_code(const EncoderReply *reply)
{
	HashCode *code = hashcode_make(reply->bits);

	memcpy(code->bits, reply->payload, hamming_bytes(reply->bits));
	return PointerGetDatum(code);
}

void
encoder_logits(const EncoderReply *reply, Datum *value)
{
	for (int i = 0; i < reply->bits; i++)
	{
		float4 logit;

		memcpy(&logit, reply->payload + i * sizeof(logit), sizeof(logit));
		value[i] = Float4GetDatum(logit);
	}
}

/* deephash_encode(image bytea, model text) returns hashcode */
Datum
deephash_encode(PG_FUNCTION_ARGS)
{
	const EncoderReply *reply = encode_arguments(fcinfo, 0);

	if (reply == NULL)
		PG_RETURN_NULL();
	return encoder_code(reply);
}

/* deephash_embed(image bytea, model text) returns real[]: the logits themselves */
Datum
deephash_embed(PG_FUNCTION_ARGS)
{
	const EncoderReply *reply = encode_arguments(fcinfo, DEEPHASH_WANT_LOGITS);
	Datum *values;

	if (reply == NULL)
		PG_RETURN_NULL();
	values = palloc(reply->bits * sizeof(Datum));
	encoder_logits(reply, values);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, reply->bits, FLOAT4OID, sizeof(float4),
										  true, TYPALIGN_INT));
}
