/*
 * bulk.c
 *	  Many images in one call: deephash_encode_array, deephash_embed_array and
 *	  deephash_encode_set.
 *
 * One image at a time leaves the engine idle while the answer travels and the next
 * image is fetched; these keep as many in its hands as it takes from one client.
 */
#include "encoder/encoder.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "rows.h"

PG_FUNCTION_INFO_V1(deephash_encode_array);
PG_FUNCTION_INFO_V1(deephash_embed_array);
PG_FUNCTION_INFO_V1(deephash_encode_set);

/* The images of an array, some of them NULL, and what became of the others. */
typedef struct Bulk
{
	ModelEntry model;
	int n;			   /* elements of the array */
	bool *isnull;	   /* which are NULL */
	EncoderItem *item; /* one per element; those of NULLs are not used */
} Bulk;

/* Encode the images of arguments (images bytea[], model text). */
static void
encode_images(FunctionCallInfo fcinfo, uint32 flags, Bulk *bulk)
{
	ArrayType *images = PG_GETARG_ARRAYTYPE_P(0);
	EncoderItem *asked;
	Datum *value;
	int nasked = 0;

	if (ARR_NDIM(images) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("images must be in an array of one dimension")));
	model_find(model_schema(fcinfo),
			   PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
			   &bulk->model);
	deconstruct_array(images, BYTEAOID, -1, false, TYPALIGN_INT, &value, &bulk->isnull,
					  &bulk->n);
	bulk->item = palloc0(Max(bulk->n, 1) * sizeof(EncoderItem));
	asked = palloc0(Max(bulk->n, 1) * sizeof(EncoderItem));
	for (int i = 0; i < bulk->n; i++)
	{
		bytea *image;

		if (bulk->isnull[i])
			continue;
		image = DatumGetByteaPP(value[i]);
		asked[nasked].payload = VARDATA_ANY(image);
		asked[nasked++].length = VARSIZE_ANY_EXHDR(image);
	}
	encoder_encode_many(&bulk->model, flags, asked, nasked);
	for (int i = 0, k = 0; i < bulk->n; i++)
	{
		if (!bulk->isnull[i])
			bulk->item[i] = asked[k++];
	}
	pfree(asked);
}

/* Is there a code for element i?  A refused image is an ERROR or a WARNING. */
static bool
has_code(const Bulk *bulk, int i)
{
	const EncoderReply *reply = &bulk->item[i].reply;

	if (bulk->isnull[i])
		return false;
	return reply->status == DEEPHASH_OK ||
		   encoder_accept(reply, psprintf("image %d of the array", i + 1));
}

/* deephash_encode_array(images bytea[], model text) returns hashcode[] */
Datum
deephash_encode_array(PG_FUNCTION_ARGS)
{
	Bulk bulk;
	Datum *code;
	int lower = 1;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	encode_images(fcinfo, 0, &bulk);
	code = palloc0(Max(bulk.n, 1) * sizeof(Datum));
	for (int i = 0; i < bulk.n; i++)
	{
		if (has_code(&bulk, i))
			code[i] = encoder_code(&bulk.item[i].reply);
		else
			bulk.isnull[i] = true;
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(
		code, bulk.isnull, bulk.n > 0 ? 1 : 0, &bulk.n, &lower,
		encoder_hashcode_type(bulk.model.schema), -1, false, TYPALIGN_INT));
}

/*
 * deephash_embed_array(images bytea[], model text) returns real[]: a row of logits for
 * each image, of NULLs where there is none.
 */
Datum
deephash_embed_array(PG_FUNCTION_ARGS)
{
	Bulk bulk;
	Datum *value;
	bool *isnull;
	int dims[2];
	int lower[2] = {1, 1};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	encode_images(fcinfo, DEEPHASH_WANT_LOGITS, &bulk);
	dims[0] = bulk.n;
	dims[1] = bulk.model.bits;
	value = palloc0(Max((Size) bulk.n * dims[1], 1) * sizeof(Datum));
	isnull = palloc0(Max((Size) bulk.n * dims[1], 1) * sizeof(bool));
	for (int i = 0; i < bulk.n; i++)
	{
		Size at = (Size) i * dims[1];

		if (has_code(&bulk, i))
			encoder_logits(&bulk.item[i].reply, value + at);
		else
			memset(isnull + at, true, dims[1]);
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(value, isnull, bulk.n > 0 ? 2 : 0, dims,
											 lower, FLOAT4OID, sizeof(float4), true,
											 TYPALIGN_INT));
}

/*
 * deephash_encode_set(images bytea[], model text)
 * returns table (ordinality int, code hashcode, error text): a row for each image; a
 * refused one has the reason instead of a code, whatever deephash.bad_image says.
 */
Datum
deephash_encode_set(PG_FUNCTION_ARGS)
{
	Rows rows = rows_begin(fcinfo);
	Bulk bulk = {.n = 0};

	if (!PG_ARGISNULL(0))
		encode_images(fcinfo, 0, &bulk);
	for (int i = 0; i < bulk.n; i++)
	{
		const EncoderReply *reply = &bulk.item[i].reply;
		Datum value[3] = {Int32GetDatum(i + 1)};
		bool isnull[3] = {false, true, true};

		if (!bulk.isnull[i] && reply->status == DEEPHASH_OK)
		{
			value[1] = encoder_code(reply);
			isnull[1] = false;
		}
		else if (!bulk.isnull[i])
		{
			value[2] = CStringGetTextDatum(reply->payload);
			isnull[2] = false;
		}
		tuplestore_putvalues(rows.store, rows.desc, value, isnull);
	}
	return (Datum) 0;
}
