/*
 * text.c
 *	  The text form and the wire form of a code.
 */
#include "hashcode/text.h"

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"

#define WIRE_HINT                                                                        \
	"Send the number of bits as a 32-bit integer in network byte order, then the bytes " \
	"of the code, bits past its end zero."

#define TEXT_HINT                                                                        \
	"Write hexadecimal digits (a3f0, x'a3f0') or binary digits between quotes "          \
	"(b'10100011')."

/* What the digits of an input text are, and where. */
typedef struct Digits
{
	int from;	  /* first digit */
	int to;		  /* past the last digit */
	int bits_per; /* 4: hexadecimal, 1: binary */
} Digits;

/* The white space that PostgreSQL's own input functions skip. */
static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Tell the forms apart by their beginning.  b without a quote is a hexadecimal
 * digit, x is none, so the only prefix that needs its quote is b'.
 */
static bool
find_digits(const char *text, int start, int end, Digits *d, Node *escontext)
{
	int n;

	while (start < end && is_space(text[start]))
		start++;
	while (end > start && is_space(text[end - 1]))
		end--;
	n = end - start;

	*d = (Digits){.from = start, .to = end, .bits_per = 4};
	if (n >= 2 && strchr("bBxX", text[start]) != NULL && text[start + 1] == '\'')
	{
		if (n < 3 || text[end - 1] != '\'')
			ereturn(
				escontext, false,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("unterminated quote in hashcode"),
				 errdetail("The quote opened at position %d is not closed.", start + 2),
				 errhint(TEXT_HINT)));
		if (text[start] == 'b' || text[start] == 'B')
			d->bits_per = 1;
		d->from = start + 2;
		d->to = end - 1;
	}
	else if (n >= 2 && (text[start] == '0' || text[start] == '\\') &&
			 (text[start + 1] == 'x' || text[start + 1] == 'X'))
		d->from = start + 2;
	else if (n >= 1 && (text[start] == 'x' || text[start] == 'X'))
		d->from = start + 1;
	return true;
}

/* Whether the code's hexadecimal digits are all 0 or 1. */
static bool
looks_binary(const HashCode *code)
{
	for (Size i = 0; i < hamming_bytes(code->nbits); i++)
		if (code->bits[i] & 0xee)
			return false;
	return true;
}

bool
hashcode_check_length(const HashCode *code, int32 typmod, Node *escontext)
{
	if (typmod < 0 || code->nbits == typmod)
		return true;
	ereturn(
		escontext, false,
		(errcode(ERRCODE_STRING_DATA_LENGTH_MISMATCH),
		 errmsg("hashcode length %d does not match type hashcode(%d)", code->nbits,
				typmod),
		 errdetail("The value has %d bits, %d are expected.", code->nbits, typmod),
		 code->nbits == (int64) typmod * 4 && looks_binary(code)
			 ? errhint("Digits without a prefix are hexadecimal; if binary digits were "
					   "meant, write b'...'.")
			 : errhint("Codes are neither cut nor padded; use substring() or || to "
					   "change a length.")));
}

static bool
bad_digit(const char *text, int at, int end, const Digits *d, Node *escontext)
{
	int len = Min(pg_mblen(text + at), end - at);

	ereturn(escontext, false,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid %s digit in hashcode: \"%.*s\"",
					d->bits_per == 4 ? "hexadecimal" : "binary", len, text + at),
			 errdetail("It stands at position %d of the input.", at + 1),
			 errhint(TEXT_HINT)));
}

HashCode *
hashcode_parse(const char *text, int start, int end, int32 typmod, Node *escontext)
{
	Digits d;
	HashCode *code;
	int64 nbits;

	if (!find_digits(text, start, end, &d, escontext))
		return NULL;
	for (int i = d.from; i < d.to; i++)
	{
		int v = hex_value(text[i]);

		if (v < 0 || (d.bits_per == 1 && v > 1))
		{
			bad_digit(text, i, end, &d, escontext);
			return NULL;
		}
	}

	nbits = (int64) (d.to - d.from) * d.bits_per;
	if (nbits == 0)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("a hashcode needs at least one digit"),
				 errdetail("No digit was found at position %d of the input.", d.from + 1),
				 errhint(TEXT_HINT)));
	if (nbits > HAMMING_MAX_BITS)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("hashcode of " INT64_FORMAT " bits is too long", nbits),
				 errdetail("A hashcode has at most %d bits.", HAMMING_MAX_BITS),
				 errhint("Keep a longer code in several columns.")));
	code = hashcode_make((int) nbits);
	for (int i = d.from; i < d.to; i++)
	{
		int bit = (i - d.from) * d.bits_per; /* where this digit's first bit goes */
		int shift = 8 - d.bits_per - bit % 8;

		code->bits[bit / 8] |= (uint8) (hex_value(text[i]) << shift);
	}
	return hashcode_check_length(code, typmod, escontext) ? code : NULL;
}

void
hashcode_format(StringInfo out, int nbits, const uint8 *bits)
{
	static const char digits[] = "0123456789abcdef";

	if (nbits % 4 == 0)
	{
		for (int i = 0; i < nbits / 4; i++)
			appendStringInfoChar(out, digits[bits[i / 2] >> (i % 2 ? 0 : 4) & 0xf]);
		return;
	}
	appendStringInfoString(out, "b'");
	for (int i = 0; i < nbits; i++)
		appendStringInfoChar(out, digits[bits[i / 8] >> (7 - i % 8) & 1]);
	appendStringInfoChar(out, '\'');
}

HashCode *
hashcode_receive(StringInfo message)
{
	int32 nbits = (int32) pq_getmsgint(message, 4);
	int nbytes;
	HashCode *code;

	if (nbits < 1 || nbits > HAMMING_MAX_BITS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid length in external hashcode: %d bits", nbits),
						errdetail("A hashcode has 1 to %d bits.", HAMMING_MAX_BITS),
						errhint(WIRE_HINT)));
	nbytes = (int) hamming_bytes(nbits);
	if (message->len - message->cursor < nbytes)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("external hashcode of %d bits is cut short", nbits),
						errdetail("%d bytes are expected after the length, %d were sent.",
								  nbytes, message->len - message->cursor),
						errhint(WIRE_HINT)));
	code = hashcode_make(nbits);
	memcpy(code->bits, pq_getmsgbytes(message, nbytes), nbytes);
	if (nbits % 8 != 0 && (code->bits[nbytes - 1] & (0xff >> nbits % 8)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("external hashcode of %d bits has bits set past its end", nbits),
				 errdetail("The last %d bits of byte %d must be zero.", 8 - nbits % 8,
						   nbytes),
				 errhint(WIRE_HINT)));
	return code;
}

void
hashcode_transmit(StringInfo message, int nbits, const uint8 *bits)
{
	pq_sendint32(message, nbits);
	pq_sendbytes(message, (const char *) bits, (int) hamming_bytes(nbits));
}
