/*
 * decode.c
 *	  JPEG to upright RGB through libjpeg-turbo.
 *
 * The rules for broken files are in README.md: what libjpeg can decode is decoded,
 * except where part of the picture is missing and would be grey invention.
 */
#include "image/image_internal.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>

/*
 * A file may repeat its scans, so decoding costs pixels times scans; the limit for
 * the product is that of max_pixels decoded this often.
 */
#define MAX_FULL_SIZE_SCANS 20

const ImageLimits image_default_limits = {
	.max_pixels = 100 * 1000 * 1000, .max_scans = 500, .max_memory = 512 << 20};

typedef struct Decoder
{
	struct jpeg_decompress_struct cinfo;
	JpegErrors errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	const ImageLimits *limits;
	JpegHeader header;
	int min_short_side;
	bool ended;		   /* libjpeg asked for more than there is */
	bool cut;		   /* ... in the middle of coefficients */
	bool early_eoi;	   /* EOI came rows before the end of a scan */
	unsigned last_row; /* and then, of total_iMCU_rows, this was the last row */
	Image image;
	uint8_t *row; /* one decoded row, where it cannot go straight to image */
} Decoder;

/* --------------------------------------------------------- input from memory */

static void
source_nothing(j_decompress_ptr cinfo)
{
	(void) cinfo;
}

/* Past the last byte there is an end-of-image marker, as often as it is asked for. */
static boolean
source_fill(j_decompress_ptr cinfo)
{
	static const JOCTET eoi[2] = {0xff, JPEG_EOI};
	Decoder *d = cinfo->client_data;

	d->ended = true;
	cinfo->src->next_input_byte = eoi;
	cinfo->src->bytes_in_buffer = sizeof(eoi);
	return TRUE;
}

static void
source_skip(j_decompress_ptr cinfo, long count)
{
	struct jpeg_source_mgr *src = cinfo->src;

	if (count <= 0)
		return;
	if ((unsigned long) count > src->bytes_in_buffer)
	{
		source_fill(cinfo);
		return;
	}
	src->next_input_byte += count;
	src->bytes_in_buffer -= (size_t) count;
}

static void
source_init(Decoder *d, const uint8_t *data, size_t size)
{
	d->source.init_source = source_nothing;
	d->source.fill_input_buffer = source_fill;
	d->source.skip_input_data = source_skip;
	d->source.resync_to_restart = jpeg_resync_to_restart;
	d->source.term_source = source_nothing;
	d->source.next_input_byte = data;
	d->source.bytes_in_buffer = size;
}

/* ------------------------------------------------------ warnings and limits */

/*
 * libjpeg fills up with grey when coefficients run out before a scan is complete.
 * At the end of the bytes that is a truncated file; at an EOI marker it is one whose
 * header lies or whose data are damaged, which we let pass only in the last row of
 * blocks.
 */
static void
on_message(j_common_ptr common, int level)
{
	struct jpeg_decompress_struct *cinfo = (struct jpeg_decompress_struct *) common;
	Decoder *d = common->client_data;

	if (level >= 0)
		return;
	common->err->num_warnings++;
	if (common->err->msg_code != JWRN_HIT_MARKER)
		return;
	if (d->ended)
		d->cut = true;
	else if (cinfo->unread_marker == JPEG_EOI && !d->early_eoi &&
			 cinfo->input_iMCU_row + 1 < cinfo->total_iMCU_rows)
	{
		d->early_eoi = true;
		d->last_row = cinfo->input_iMCU_row;
	}
}

/* Called while scans are read. */
static void
on_progress(j_common_ptr common)
{
	Decoder *d = common->client_data;
	int64_t scans = d->cinfo.input_scan_number;
	int64_t pixels = (int64_t) d->cinfo.image_width * d->cinfo.image_height;

	if (scans > d->limits->max_scans)
		jpeg_refuse(common, "JPEG has more scans than the limit of %d",
					d->limits->max_scans);
	if (scans > 1 && scans > MAX_FULL_SIZE_SCANS * d->limits->max_pixels / pixels)
		jpeg_refuse(common,
					"JPEG of %ux%u pixels has more scans than the limit of %lld for its "
					"size",
					d->cinfo.image_width, d->cinfo.image_height,
					(long long) (MAX_FULL_SIZE_SCANS * d->limits->max_pixels / pixels));
}

static void
check_frame(Decoder *d)
{
	struct jpeg_decompress_struct *cinfo = &d->cinfo;
	j_common_ptr common = (j_common_ptr) cinfo;
	int64_t pixels = (int64_t) cinfo->image_width * cinfo->image_height;

	if (pixels > d->limits->max_pixels)
		jpeg_refuse(common, "JPEG of %ux%u pixels is over the limit of %lld pixels",
					cinfo->image_width, cinfo->image_height,
					(long long) d->limits->max_pixels);
	if (cinfo->data_precision != 8)
		jpeg_refuse(common, "JPEG with %d bits per sample: only 8 are accepted",
					cinfo->data_precision);
	if (cinfo->num_components != 1 && cinfo->num_components != 3 &&
		cinfo->num_components != 4)
		jpeg_refuse(
			common,
			"JPEG with %d colour components: 1 (grey), 3 (colour) or 4 (CMYK) are "
			"accepted",
			cinfo->num_components);
}

/* Bytes for the pixels and, with several scans, for all coefficients. */
static void
check_memory(Decoder *d)
{
	struct jpeg_decompress_struct *cinfo = &d->cinfo;
	int64_t bytes = (int64_t) cinfo->output_width * cinfo->output_height * 3;

	if (jpeg_has_multiple_scans(cinfo))
		for (int c = 0; c < cinfo->num_components; c++)
		{
			const jpeg_component_info *comp = &cinfo->comp_info[c];

			/* libjpeg rounds both up to whole units of interleaved blocks. */
			bytes += ((int64_t) comp->width_in_blocks + comp->h_samp_factor) *
					 ((int64_t) comp->height_in_blocks + comp->v_samp_factor) *
					 (int64_t) sizeof(JBLOCK);
		}
	if (bytes > d->limits->max_memory)
		jpeg_refuse(
			(j_common_ptr) cinfo,
			"JPEG of %ux%u pixels needs %lld MB to decode, over the limit of %lld "
			"MB",
			cinfo->image_width, cinfo->image_height, (long long) (bytes >> 20),
			(long long) (d->limits->max_memory >> 20));
}

/* --------------------------------------------------------------- the picture */

static void
choose_scale(Decoder *d)
{
	struct jpeg_decompress_struct *cinfo = &d->cinfo;
	JDIMENSION width = cinfo->image_width;
	JDIMENSION height = cinfo->image_height;
	int64_t side = width < height ? width : height;

	cinfo->scale_num = 1;
	cinfo->scale_denom = 1;
	if (d->min_short_side <= 0)
		return;
	for (unsigned denom = 8; denom > 1; denom /= 2)
		if ((side + denom - 1) / denom >= 2 * (int64_t) d->min_short_side)
		{
			cinfo->scale_denom = denom;
			return;
		}
}

/*
 * One CMYK row to RGB, in place: each ink takes its share of what black leaves.
 * Adobe writes the complement of the inks and says so by its marker.
 */
static void
cmyk_to_rgb(uint8_t *row, unsigned width, bool inverted)
{
	uint8_t flip = inverted ? 0x00 : 0xff;

	for (unsigned x = 0; x < width; x++)
	{
		unsigned key = row[4 * x + 3] ^ flip;

		for (int c = 0; c < 3; c++)
		{
			unsigned product = (row[4 * x + c] ^ flip) * key + 127;

			row[3 * x + c] = (uint8_t) (product / 255);
		}
	}
}

/* Where pixels of the stored picture go in the upright one. */
typedef struct Placement
{
	uint8_t *origin;   /* of stored pixel 0, 0 */
	ptrdiff_t along_x; /* bytes to the next pixel of a stored row */
	ptrdiff_t along_y; /* bytes to the next stored row */
} Placement;

static bool
is_transposed(int orientation)
{
	return orientation >= 5;
}

/*
 * EXIF numbers where the stored row 0 and column 0 are in the upright picture:
 * 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top,
 * 7 right bottom, 8 left bottom.
 */
static Placement
place(const Image *upright, int orientation)
{
	bool from_right =
		orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
	bool from_bottom =
		orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
	ptrdiff_t across = from_right ? -3 : 3;
	ptrdiff_t down = (from_bottom ? -3 : 3) * (ptrdiff_t) upright->width;
	Placement p = {.origin = upright->rgb};

	if (from_right)
		p.origin += 3 * (ptrdiff_t) (upright->width - 1);
	if (from_bottom)
		p.origin += 3 * (ptrdiff_t) upright->width * (upright->height - 1);
	p.along_x = is_transposed(orientation) ? down : across;
	p.along_y = is_transposed(orientation) ? across : down;
	return p;
}

static void
allocate(Decoder *d)
{
	struct jpeg_decompress_struct *cinfo = &d->cinfo;
	bool transposed = is_transposed(d->header.orientation);

	d->image.width = (int) (transposed ? cinfo->output_height : cinfo->output_width);
	d->image.height = (int) (transposed ? cinfo->output_width : cinfo->output_height);
	d->image.rgb = malloc((size_t) cinfo->output_width * cinfo->output_height * 3);
	d->row = malloc((size_t) cinfo->output_width * 4);
	if (d->image.rgb == NULL || d->row == NULL)
		jpeg_refuse((j_common_ptr) cinfo, "out of memory for a JPEG of %ux%u pixels",
					cinfo->image_width, cinfo->image_height);
}

static void
read_rows(Decoder *d)
{
	struct jpeg_decompress_struct *cinfo = &d->cinfo;
	Placement p = place(&d->image, d->header.orientation);
	bool cmyk = cinfo->out_color_space == JCS_CMYK;
	bool straight = !cmyk && d->header.orientation == 1;

	for (unsigned y = 0; y < cinfo->output_height; y++)
	{
		uint8_t *to = p.origin + (ptrdiff_t) y * p.along_y;
		JSAMPROW row = straight ? to : d->row;

		jpeg_read_scanlines(cinfo, &row, 1);
		if (straight)
			continue;
		if (cmyk)
			cmyk_to_rgb(row, cinfo->output_width, cinfo->saw_Adobe_marker);
		for (unsigned x = 0; x < cinfo->output_width; x++, to += p.along_x)
			memcpy(to, row + (size_t) x * 3, 3);
	}
}

/* Whether a scan that refines the picture is still to come. */
static bool
scans_missing(const struct jpeg_decompress_struct *cinfo)
{
	for (int c = 0; c < cinfo->num_components; c++)
	{
		if (cinfo->comp_info[c].quant_table == NULL)
			return true; /* set when a component's first scan starts */
		if (cinfo->coef_bits != NULL)
			for (int k = 0; k < DCTSIZE2; k++)
				if (cinfo->coef_bits[c][k] != 0)
					return true;
	}
	return false;
}

/*
 * Huffman decoding warns when it lacks bits.  Arithmetic decoding cannot: trailing
 * zero bytes may be left out lawfully, so there the end of the file tells.
 */
static void
check_complete(Decoder *d)
{
	j_common_ptr common = (j_common_ptr) &d->cinfo;

	if (d->cut || (d->ended && (d->cinfo.arith_code || scans_missing(&d->cinfo))))
		jpeg_refuse(common,
					"truncated JPEG: its data end before the picture is complete");
	if (d->early_eoi)
		jpeg_refuse(common, "corrupt JPEG: its picture data end in block row %u of %u",
					d->last_row + 1, d->cinfo.total_iMCU_rows);
}

static void
decode(Decoder *d)
{
	struct jpeg_decompress_struct *cinfo = &d->cinfo;

	jpeg_create_decompress(cinfo);
	cinfo->client_data = d;
	cinfo->src = &d->source;
	cinfo->progress = &d->progress;
	cinfo->mem->max_memory_to_use =
		d->limits->max_memory < LONG_MAX ? (long) d->limits->max_memory : LONG_MAX;

	jpeg_read_header(cinfo, TRUE);
	check_frame(d);
	cinfo->out_color_space = cinfo->num_components == 4 ? JCS_CMYK : JCS_RGB;
	/* The exact integer transform; smoothing would guess at coefficients. */
	cinfo->dct_method = JDCT_ISLOW;
	cinfo->do_block_smoothing = FALSE;
	choose_scale(d);
	jpeg_calc_output_dimensions(cinfo);
	check_memory(d);

	jpeg_start_decompress(cinfo);
	check_complete(d); /* several scans have all been read by now */
	allocate(d);
	read_rows(d);
	check_complete(d);
	jpeg_finish_decompress(cinfo);
}

static bool
decode_guarded(Decoder *d)
{
	if (setjmp(d->errors.escape) != 0)
		return false;
	decode(d);
	return true;
}

/* -------------------------------------------------------------- error texts */

static bool
fail_not_jpeg(const uint8_t *data, size_t size, ImageError *err)
{
	const char *kind = image_sniff(data, size);

	if (strcmp(kind, "empty") == 0)
		return image_fail(err, "not a JPEG: the data are empty; only JPEG is accepted");
	if (strcmp(kind, "unknown") == 0)
		return image_fail(
			err,
			"not a JPEG: %zu bytes of unknown format that begin with 0x%02x; "
			"only JPEG is accepted",
			size, data[0]);
	if (size >= 4 && memcmp(data, "/9j/", 4) == 0)
		return image_fail(err, "not a JPEG: looks like text, a JPEG in base64; decode it "
							   "first");
	if ((size >= 6 && memcmp(data, "\\xffd8", 6) == 0) ||
		(size >= 6 && memcmp(data, "ffd8ff", 6) == 0))
		return image_fail(err,
						  "not a JPEG: looks like text, a JPEG in hexadecimal; decode "
						  "it first");
	return image_fail(err, "not a JPEG: looks like %s; only JPEG is accepted", kind);
}

static const char *
frame_name(int sof)
{
	switch (sof)
	{
		case 0xc3:
		case 0xcb:
			return "lossless";
		case 0xc5:
		case 0xc6:
		case 0xcd:
		case 0xce:
			return "hierarchical";
		case 0xc7:
		case 0xcf:
			return "lossless hierarchical";
		default:
			return "unknown kind of";
	}
}

static bool
fail_frame_type(int sof, ImageError *err)
{
	return image_fail(
		err,
		"%s JPEG (SOF type 0x%02x): only baseline, extended and progressive "
		"JPEG are accepted",
		frame_name(sof), sof);
}

static bool
is_accepted_frame(int sof)
{
	return sof == 0 || sof == 0xc0 || sof == 0xc1 || sof == 0xc2 || sof == 0xc9 ||
		   sof == 0xca;
}

static bool
fail_decode(Decoder *d, ImageError *err)
{
	char *text = d->errors.text;

	switch (d->errors.code)
	{
		case IMAGE_OWN_ERROR:
			return image_fail(err, "%s", text);
		case JERR_SOF_UNSUPPORTED:
			return fail_frame_type(d->errors.mgr.msg_parm.i[0], err);
		case JERR_BAD_PRECISION:
			return image_fail(err, "JPEG with %d bits per sample: only 8 are accepted",
							  d->errors.mgr.msg_parm.i[0]);
		case JERR_OUT_OF_MEMORY:
			return image_fail(err, "out of memory while decoding a JPEG");
		case JERR_NO_BACKING_STORE:
			return image_fail(err, "JPEG needs more than the limit of %lld MB to decode",
							  (long long) (d->limits->max_memory >> 20));
		case JERR_IMAGE_TOO_BIG:
			return image_fail(err, "JPEG has a side of more than %d pixels",
							  (int) d->errors.mgr.msg_parm.i[0]);
		default:
			if (d->ended)
				return image_fail(err, "truncated JPEG: its data end inside the header");
			/* Ours go on in lower case; "SOS before SOF" stays. */
			if (isupper((unsigned char) text[0]) && islower((unsigned char) text[1]))
				text[0] = (char) tolower((unsigned char) text[0]);
			return image_fail(err, "corrupt JPEG: %s", text);
	}
}

/* ----------------------------------------------------------------- interface */

bool
image_decode_jpeg(const uint8_t *data, size_t size, int min_short_side,
				  const ImageLimits *limits, Image *out, int *warnings, ImageError *err)
{
	Decoder *d;
	bool ok;

	memset(out, 0, sizeof(*out));
	if (warnings != NULL)
		*warnings = 0;
	if (strcmp(image_sniff(data, size), "JPEG") != 0)
		return fail_not_jpeg(data, size, err);
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return image_fail(err, "out of memory");
	d->limits = limits != NULL ? limits : &image_default_limits;
	d->min_short_side = min_short_side;
	jpeg_scan_header(data, size, &d->header);
	if (!is_accepted_frame(d->header.sof))
	{
		fail_frame_type(d->header.sof, err);
		free(d);
		return false;
	}
	source_init(d, data, size);
	d->cinfo.err = jpeg_errors_init(&d->errors);
	d->errors.mgr.emit_message = on_message;
	d->progress.progress_monitor = on_progress;

	ok = decode_guarded(d);
	if (warnings != NULL)
		*warnings = (int) d->errors.mgr.num_warnings + d->ended;
	jpeg_destroy_decompress(&d->cinfo);
	free(d->row);
	if (ok)
		*out = d->image;
	else
	{
		free(d->image.rgb);
		fail_decode(d, err);
	}
	free(d);
	return ok;
}

void
image_free(Image *img)
{
	free(img->rgb);
	memset(img, 0, sizeof(*img));
}
