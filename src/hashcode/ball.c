/*
 * ball.c
 *	  The type hashball: all codes within a radius of a centre.
 *
 * An index condition is "column operator value", so centre and radius must be
 * one value.  Text form <code,radius>; wire form: int32 radius, then the code.
 */
#include "hashcode/ball.h"

#include "libpq/pqformat.h"

#include "hashcode/text.h"

PG_FUNCTION_INFO_V1(hashball_in);
PG_FUNCTION_INFO_V1(hashball_out);
PG_FUNCTION_INFO_V1(hashball_recv);
PG_FUNCTION_INFO_V1(hashball_send);
PG_FUNCTION_INFO_V1(hashball_construct);
PG_FUNCTION_INFO_V1(hashball_centre);
PG_FUNCTION_INFO_V1(hashball_radius);
PG_FUNCTION_INFO_V1(hashball_mutual);

HashBall *
hashball_make(int nbits, const uint8 *bits, int32 radius)
{
	Size size = HASHCODE_SIZE(nbits); /* both types have the same layout */
	HashBall *ball;

	radius = hashball_check_radius(radius, nbits);
	ball = palloc0(size);
	SET_VARSIZE(ball, size);
	ball->nbits = (uint16) nbits;
	ball->radius = (uint16) radius;
	memcpy(ball->bits, bits, hamming_bytes(nbits));
	return ball;
}

/* Read the radius in text[at .. end), spaces around it; false if it is none. */
static bool
parse_radius(const char *text, int at, int end, int32 *radius)
{
	int64 value = 0;
	bool digits = false;

	while (at < end && isspace((unsigned char) text[at]))
		at++;
	for (; at < end && text[at] >= '0' && text[at] <= '9'; at++)
	{
		value = Min(value * 10 + (text[at] - '0'), PG_INT32_MAX);
		digits = true;
	}
	while (at < end && isspace((unsigned char) text[at]))
		at++;
	*radius = (int32) value;
	return digits && at == end;
}

Datum
hashball_in(PG_FUNCTION_ARGS)
{
	char *text = PG_GETARG_CSTRING(0);
	int start = 0;
	int end = (int) strlen(text);
	char *comma = strrchr(text, ',');
	HashCode *centre;
	int32 radius;

	while (start < end && isspace((unsigned char) text[start]))
		start++;
	while (end > start && isspace((unsigned char) text[end - 1]))
		end--;
	if (end - start < 2 || text[start] != '<' || text[end - 1] != '>' || comma == NULL)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type hashball: \"%s\"", text),
				 errhint("Write <code,radius>, for example <a3f0,2>.")));
	if (!parse_radius(text, (int) (comma - text) + 1, end - 1, &radius))
		ereturn(
			fcinfo->context, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid radius in hashball: \"%s\"", text),
			 errdetail("A number without sign is expected at position %d of the input.",
					   (int) (comma - text) + 2),
			 errhint("Write <code,radius>, for example <a3f0,2>.")));
	centre = hashcode_parse(text, start + 1, (int) (comma - text), -1, fcinfo->context);
	if (centre == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(hashball_make(centre->nbits, centre->bits, radius));
}

Datum
hashball_out(PG_FUNCTION_ARGS)
{
	HashBall *ball = PG_GETARG_HASHBALL_P(0);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '<');
	hashcode_format(&out, ball->nbits, ball->bits);
	appendStringInfo(&out, ",%d>", ball->radius);
	PG_RETURN_CSTRING(out.data);
}

Datum
hashball_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int32 radius = (int32) pq_getmsgint(message, 4);
	HashCode *centre = hashcode_receive(message);

	PG_RETURN_POINTER(hashball_make(centre->nbits, centre->bits, radius));
}

Datum
hashball_send(PG_FUNCTION_ARGS)
{
	HashBall *ball = PG_GETARG_HASHBALL_P(0);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendint32(&message, ball->radius);
	hashcode_transmit(&message, ball->nbits, ball->bits);
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
hashball_construct(PG_FUNCTION_ARGS)
{
	HashCode *centre = PG_GETARG_HASHCODE_P(0);

	PG_RETURN_POINTER(hashball_make(centre->nbits, centre->bits, PG_GETARG_INT32(1)));
}

Datum
hashball_centre(PG_FUNCTION_ARGS)
{
	HashBall *ball = PG_GETARG_HASHBALL_P(0);
	HashCode *centre = hashcode_make(ball->nbits);

	memcpy(centre->bits, ball->bits, hamming_bytes(ball->nbits));
	PG_RETURN_HASHCODE_P(centre);
}

Datum
hashball_radius(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(PG_GETARG_HASHBALL_P(0)->radius);
}

/* Each ball holds the other's centre. */
Datum
hashball_mutual(PG_FUNCTION_ARGS)
{
	HashBall *a = PG_GETARG_HASHBALL_P(0);
	HashBall *b = PG_GETARG_HASHBALL_P(1);

	PG_RETURN_BOOL(hashball_centre_distance(a, b) <= Min(a->radius, b->radius));
}
