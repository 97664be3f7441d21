/*
 * io.c
 *	  Input, output and type modifier of hashcode.
 */
#include "hashcode/text.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(hashcode_in);
PG_FUNCTION_INFO_V1(hashcode_out);
PG_FUNCTION_INFO_V1(hashcode_recv);
PG_FUNCTION_INFO_V1(hashcode_send);
PG_FUNCTION_INFO_V1(hashcode_typmod_in);
PG_FUNCTION_INFO_V1(hashcode_typmod_out);
PG_FUNCTION_INFO_V1(hashcode_enforce_typmod);

HashCode *
hashcode_make(int nbits)
{
	Size size = HASHCODE_SIZE(nbits);
	HashCode *code;

	Assert(nbits >= 1 && nbits <= HAMMING_MAX_BITS);
	code = palloc0(size);
	SET_VARSIZE(code, size);
	code->nbits = (uint16) nbits;
	return code;
}

Datum
hashcode_in(PG_FUNCTION_ARGS)
{
	char *text = PG_GETARG_CSTRING(0);
	int32 typmod = PG_GETARG_INT32(2);
	HashCode *code = hashcode_parse(text, 0, (int) strlen(text), typmod, fcinfo->context);

	if (code == NULL)
		PG_RETURN_NULL();
	PG_RETURN_HASHCODE_P(code);
}

Datum
hashcode_out(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	StringInfoData out;

	initStringInfo(&out);
	hashcode_format(&out, code->nbits, code->bits);
	PG_RETURN_CSTRING(out.data);
}

Datum
hashcode_recv(PG_FUNCTION_ARGS)
{
	HashCode *code = hashcode_receive((StringInfo) PG_GETARG_POINTER(0));

	hashcode_check_length(code, PG_GETARG_INT32(2), NULL);
	PG_RETURN_HASHCODE_P(code);
}

Datum
hashcode_send(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);
	StringInfoData message;

	pq_begintypsend(&message);
	hashcode_transmit(&message, code->nbits, code->bits);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
hashcode_typmod_in(PG_FUNCTION_ARGS)
{
	int n;
	int32 *modifiers = ArrayGetIntegerTypmods(PG_GETARG_ARRAYTYPE_P(0), &n);

	if (n != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid type modifier for hashcode"),
						errdetail("%d modifiers were given, one is expected.", n),
						errhint("Write hashcode(n), n the number of bits.")));
	if (modifiers[0] < 1 || modifiers[0] > HAMMING_MAX_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("length of type hashcode out of range: %d", modifiers[0]),
				 errhint("Choose a number of bits from 1 to %d.", HAMMING_MAX_BITS)));
	PG_RETURN_INT32(modifiers[0]);
}

Datum
hashcode_typmod_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(psprintf("(%d)", PG_GETARG_INT32(0)));
}

/*
 * The cast hashcode -> hashcode(n).  Codes of different lengths come from different
 * encoders, so nothing is cut or padded, even by an explicit cast.
 */
Datum
hashcode_enforce_typmod(PG_FUNCTION_ARGS)
{
	HashCode *code = PG_GETARG_HASHCODE_P(0);

	hashcode_check_length(code, PG_GETARG_INT32(1), NULL);
	PG_RETURN_HASHCODE_P(code);
}
