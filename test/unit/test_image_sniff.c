/*
 * test_image_sniff.c
 *	  What data look like, and what the error says when it is no JPEG.
 */
#include "test/unit/image_samples.h"

typedef struct Case
{
	const char *bytes;
	size_t size;
	const char *kind;
} Case;

#define BYTES(literal) literal, sizeof(literal) - 1

static const Case cases[] = {
	{BYTES(""), "empty"},
	{BYTES("\xff\xd8\xff\xe0"), "JPEG"},
	{BYTES("\xff\xd8"), "JPEG"},
	{BYTES("\xff"), "unknown"},
	{BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "PNG"},
	{BYTES("\x89PN"), "unknown"},
	{BYTES("GIF87a\1\0\1\0"), "GIF"},
	{BYTES("GIF89a\1\0\1\0"), "GIF"},
	{BYTES("GIF90a of the month"), "text"},
	{BYTES("RIFF\x24\0\0\0WEBPVP8 "), "WebP"},
	{BYTES("RIFF\x24\0\0\0WAVEfmt "), "unknown"},
	{BYTES("RIFF\x24\0\0\0WEB"), "unknown"},
	{BYTES("II*\0\x08\0\0\0"), "TIFF"},
	{BYTES("MM\0*\0\0\0\x08"), "TIFF"},
	{BYTES("II+\0\x08\0\0\0"), "TIFF"},
	{BYTES("BM\x46\0\0\0\0\0\0\0\x36\0\0\0"), "BMP"},
	{BYTES("BMW is a make of car"), "text"},
	{BYTES("\0\0\0\x18"
		   "ftypheic\0\0\0\0mif1heic"),
	 "HEIC"},
	{BYTES("\0\0\0\x18"
		   "ftypmif1\0\0\0\0mif1heic"),
	 "HEIC"},
	{BYTES("\0\0\0\x1c"
		   "ftypavif\0\0\0\0mif1miafavif"),
	 "AVIF"},
	{BYTES("\0\0\0\x1c"
		   "ftypmif1\0\0\0\0miafmif1avif"),
	 "AVIF"},
	{BYTES("\0\0\0\x18"
		   "ftypisom\0\0\0\0isomavc1"),
	 "unknown"},
	{BYTES("\xff\xff\xff\xff"
		   "ftypisom\0\0\0\0"),
	 "unknown"},
	{BYTES("\0\0\0\0"
		   "ftyp"),
	 "unknown"},
	{BYTES("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), "PDF"},
	{BYTES("%PDF in words"), "text"},
	{BYTES("\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"},
	{BYTES("\xff\x0a\xfa\x7f"), "JPEG XL"},
	{BYTES("\0\0\0\x0cjP  \r\n\x87\n"), "JPEG 2000"},
	{BYTES("\xff\x4f\xff\x51\0\x2f"), "JPEG 2000"},
	{BYTES("\0\0\0\x0cjP  \r\n\x87"), "unknown"},
	{BYTES("hello, world\n"), "text"},
	{BYTES("\xef\xbb\xbfwith a mark"), "text"},
	{BYTES("<!DOCTYPE html><title>404</title>"), "text"},
	{BYTES("caf\xc3\xa9"), "text"},
	{BYTES("caf\xe9"), "text"}, /* cut in the middle of a character */
	{BYTES("caf\xe9 noir"), "unknown"},
	{BYTES("nul\0inside"), "unknown"},
	{BYTES("\x1f\x8b\x08"), "unknown"},
};

/* In memory of exactly that size, so that ASan sees a read past it. */
static uint8_t *
exact_copy(const Case *c)
{
	uint8_t *copy = malloc(c->size ? c->size : 1);

	assert_non_null(copy);
	memcpy(copy, c->bytes, c->size);
	return copy;
}

static void
test_kinds(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		uint8_t *data = exact_copy(&cases[i]);

		assert_string_equal(image_sniff(data, cases[i].size), cases[i].kind);
		free(data);
	}
	assert_string_equal(image_sniff(NULL, 0), "empty");
}

static void
test_refusals(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Sample s = {exact_copy(&cases[i]), cases[i].size};
		bool jpeg = strcmp(cases[i].kind, "JPEG") == 0;

		must_refuse(s, NULL, jpeg ? "truncated JPEG" : "not a JPEG");
		if (!jpeg)
		{
			must_refuse(s, NULL, cases[i].kind);
			must_refuse(s, NULL, "only JPEG is accepted");
		}
		free(s.data);
	}
}

static void
test_encoded_text(void **state)
{
	static const Case base64 = {BYTES("/9j/4AAQSkZJRgABAQEASABIAAD"), ""};
	static const Case hex = {BYTES("\\xffd8ffe000104a464946"), ""};
	static const Case plain_hex = {BYTES("ffd8ffe000104a464946"), ""};
	Sample a = {exact_copy(&base64), base64.size};
	Sample b = {exact_copy(&hex), hex.size};
	Sample c = {exact_copy(&plain_hex), plain_hex.size};

	(void) state;
	must_refuse(a, NULL, "base64");
	must_refuse(b, NULL, "hexadecimal");
	must_refuse(c, NULL, "hexadecimal");
	free(a.data);
	free(b.data);
	free(c.data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_encoded_text),
	};

	return cmocka_run_group_tests_name("image: sniff", tests, NULL, NULL);
}
