/*
 * header.c
 *	  The marker segments of a JPEG before its first scan: frame type and EXIF
 *	  orientation (CIPA DC-008, JEITA CP-3451: a TIFF structure in an APP1 segment).
 *
 * libjpeg could save APP1 segments for us, at the price of memory that the file
 * decides; the bytes are all here, so they are read where they lie.
 */
#include "image/image_internal.h"

#include <string.h>

enum
{
	MARKER_TEM = 0x01,
	MARKER_RST0 = 0xd0,
	MARKER_SOI = 0xd8,
	MARKER_EOI = 0xd9,
	MARKER_SOS = 0xda,
	MARKER_APP1 = 0xe1,
	TAG_ORIENTATION = 0x0112,
	TYPE_SHORT = 3
};

/* A TIFF block with its byte order; reads outside it give zero. */
typedef struct Tiff
{
	const uint8_t *data;
	size_t size;
	bool big_endian;
} Tiff;

static uint32_t
tiff_u16(const Tiff *t, size_t at)
{
	if (at > t->size || t->size - at < 2)
		return 0;
	return t->big_endian ? (uint32_t) t->data[at] << 8 | t->data[at + 1]
						 : (uint32_t) t->data[at + 1] << 8 | t->data[at];
}

static uint32_t
tiff_u32(const Tiff *t, size_t at)
{
	if (at > t->size || t->size - at < 4)
		return 0;
	return t->big_endian ? tiff_u16(t, at) << 16 | tiff_u16(t, at + 2)
						 : tiff_u16(t, at + 2) << 16 | tiff_u16(t, at);
}

/*
 * The orientation is a SHORT in the first directory.  No offset is followed but the
 * one to that directory, so there is no loop to be caught in.
 */
int
exif_orientation(const uint8_t *data, size_t size)
{
	Tiff t;
	size_t directory;
	uint32_t entries;

	if (size < 14 || memcmp(data, "Exif\0", 5) != 0)
		return 0;
	t.data = data + 6; /* the byte after the name is padding */
	t.size = size - 6;
	if (memcmp(t.data, "II*\0", 4) == 0)
		t.big_endian = false;
	else if (memcmp(t.data, "MM\0*", 4) == 0)
		t.big_endian = true;
	else
		return 0;

	directory = tiff_u32(&t, 4);
	if (directory < 8 || directory > t.size)
		return 0;
	entries = tiff_u16(&t, directory);
	for (uint32_t i = 0; i < entries; i++)
	{
		size_t entry = directory + 2 + (size_t) i * 12;
		uint32_t value;

		if (entry + 12 > t.size)
			return 0;
		if (tiff_u16(&t, entry) != TAG_ORIENTATION)
			continue;
		if (tiff_u16(&t, entry + 2) != TYPE_SHORT || tiff_u32(&t, entry + 4) != 1)
			return 0;
		value = tiff_u16(&t, entry + 8);
		return value >= 1 && value <= 8 ? (int) value : 0;
	}
	return 0;
}

/* SOF0 to SOF15 without DHT (c4), JPG (c8) and DAC (cc). */
static bool
is_frame(int marker)
{
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
		   marker != 0xcc;
}

static bool
has_no_length(int marker)
{
	return marker == MARKER_TEM || (marker >= MARKER_RST0 && marker <= MARKER_SOI);
}

/*
 * Garbage between segments is skipped as libjpeg skips it: to the next 0xff that is
 * not followed by zero.
 */
void
jpeg_scan_header(const uint8_t *data, size_t size, JpegHeader *header)
{
	size_t at = 2; /* after SOI */

	header->sof = 0;
	header->orientation = 0;
	while (size - at >= 4 && at < size)
	{
		int marker = data[at + 1];
		size_t length;

		if (data[at] != 0xff || marker == 0x00 || marker == 0xff)
		{
			at++;
			continue;
		}
		at += 2;
		if (has_no_length(marker))
			continue;
		if (marker == MARKER_SOS || marker == MARKER_EOI)
			break;
		length = (size_t) data[at] << 8 | data[at + 1];
		if (length < 2 || length > size - at)
			break;
		if (is_frame(marker) && header->sof == 0)
			header->sof = marker;
		if (marker == MARKER_APP1 && header->orientation == 0)
			header->orientation = exif_orientation(data + at + 2, length - 2);
		at += length;
	}
	if (header->orientation == 0)
		header->orientation = 1;
}
