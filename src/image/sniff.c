/*
 * sniff.c
 *	  What a piece of data looks like, from its first bytes.
 */
#include "image/image_internal.h"

#include <string.h>

static bool
starts_with(const uint8_t *data, size_t size, const char *magic, size_t length)
{
	return size >= length && memcmp(data, magic, length) == 0;
}

static bool
is_brand(const uint8_t *brand, const char *const *names)
{
	for (; *names != NULL; names++)
		if (memcmp(brand, *names, 4) == 0)
			return true;
	return false;
}

/*
 * ISO base media file: box length, "ftyp", major brand, version, compatible brands.
 * The major brand may be the general mif1, so AVIF is looked for in the whole list
 * before HEIC.
 */
static const char *
sniff_ftyp(const uint8_t *data, size_t size)
{
	static const char *const avif[] = {"avif", "avis", NULL};
	static const char *const heic[] = {"heic", "heix", "heim", "heis", "hevc",
									   "hevx", "mif1", "msf1", NULL};
	size_t box = ((size_t) data[0] << 24) | (data[1] << 16) | (data[2] << 8) | data[3];
	bool heif = false;

	if (box > size)
		box = size;
	if (box > 256)
		box = 256;
	for (size_t at = 8; at + 4 <= box; at += 4)
	{
		if (at == 12)
			continue; /* the version, no brand */
		if (is_brand(data + at, avif))
			return "AVIF";
		heif = heif || is_brand(data + at, heic);
	}
	return heif ? "HEIC" : "unknown";
}

/* No control characters but white space in the first bytes, and valid as UTF-8 leads. */
static bool
looks_like_text(const uint8_t *data, size_t size)
{
	size_t n = size < 512 ? size : 512;
	size_t at = starts_with(data, size, "\xef\xbb\xbf", 3) ? 3 : 0;

	while (at < n)
	{
		uint8_t c = data[at++];
		int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

		if ((c < 0x20 && !(c >= '\t' && c <= '\r')) || c == 0x7f || c > 0xf4)
			return false;
		if (c >= 0x80 && more == 0)
			return false;
		for (; more > 0 && at < n; more--)
			if ((data[at++] & 0xc0) != 0x80)
				return false;
	}
	return true;
}

const char *
image_sniff(const uint8_t *data, size_t size)
{
	if (data == NULL || size == 0)
		return "empty";
	if (starts_with(data, size, "\xff\xd8", 2))
		return "JPEG";
	if (starts_with(data, size, "\x89PNG", 4))
		return "PNG";
	if (starts_with(data, size, "GIF87a", 6) || starts_with(data, size, "GIF89a", 6))
		return "GIF";
	if (size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0)
		return "WebP";
	if (starts_with(data, size, "II*\0", 4) || starts_with(data, size, "MM\0*", 4) ||
		starts_with(data, size, "II+\0", 4) || starts_with(data, size, "MM\0+", 4))
		return "TIFF";
	if (size >= 12 && memcmp(data + 4, "ftyp", 4) == 0)
		return sniff_ftyp(data, size);
	/* Two letters are little: the file's two reserved words must be zero as well. */
	if (size >= 14 && memcmp(data, "BM", 2) == 0 && memcmp(data + 6, "\0\0\0\0", 4) == 0)
		return "BMP";
	if (starts_with(data, size, "%PDF-", 5))
		return "PDF";
	if (starts_with(data, size, "\0\0\0\x0cJXL \r\n\x87\n", 12) ||
		starts_with(data, size, "\xff\x0a", 2))
		return "JPEG XL";
	if (starts_with(data, size, "\0\0\0\x0cjP  \r\n\x87\n", 12) ||
		starts_with(data, size, "\xff\x4f\xff\x51", 4))
		return "JPEG 2000";
	return looks_like_text(data, size) ? "text" : "unknown";
}
