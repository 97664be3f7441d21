/*
 * report.c
 *	  The contact sheet: one HTML file of queries and results.
 */
#include "training/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EMBED_AS_IS 24576 /* larger JPEG files become thumbnails */
#define THUMB_SIDE 144	  /* short side of a thumbnail */
#define MAX_FILE ((off_t) 256 << 20)

static const char style[] =
	":root{color-scheme:light dark;--ink:#1d2329;--quiet:#65707b;--page:#f6f7f8;"
	"--card:#fff;--line:#dde1e5;--right:#1a8f4d;--wrong:#c8372d}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--quiet:#98a3ae;"
	"--page:#14171a;--card:#1d2125;--line:#343a41;--right:#3fc77a;--wrong:#f0695f}}\n"
	"body{margin:0;background:var(--page);color:var(--ink);"
	"font:14px/1.45 system-ui,sans-serif}\n"
	"header,main{max-width:76rem;margin:0 auto;padding:1.2rem 1.2rem 0}\n"
	"h1{font-size:1.45rem;margin:0 0 .3rem}header p{margin:.2rem 0;color:var(--quiet)}\n"
	"section{display:flex;gap:1rem;margin:0 0 .9rem;padding:.8rem;background:var(--card);"
	"border:1px solid var(--line);border-radius:10px}\n"
	"figure{margin:0;width:84px;text-align:center}\n"
	"img,.none{box-sizing:border-box;width:84px;height:84px;object-fit:contain;"
	"border:3px solid var(--line);border-radius:8px;background:var(--page)}\n"
	"img.small{image-rendering:pixelated}\n"
	".none{display:block;overflow:hidden;font-size:9px;line-height:1.2;padding:4px;"
	"color:var(--quiet);overflow-wrap:anywhere}\n"
	".right img{border-color:var(--right)}.wrong img{border-color:var(--wrong)}\n"
	"figcaption{font-size:12px;color:var(--quiet);overflow-wrap:anywhere}\n"
	".right b{color:var(--right)}.wrong b{color:var(--wrong)}\n"
	".query{flex:none;padding-right:1rem;border-right:1px solid var(--line)}\n"
	".query img{border-color:var(--ink)}\n"
	".found{display:flex;flex-wrap:wrap;gap:.55rem}\n";

/* Text into HTML: what could end an element or attribute is named. */
static void
put_text(FILE *out, const char *text)
{
	for (const char *c = text; *c; c++)
		switch (*c)
		{
			case '<':
				fputs("&lt;", out);
				break;
			case '>':
				fputs("&gt;", out);
				break;
			case '&':
				fputs("&amp;", out);
				break;
			case '"':
				fputs("&quot;", out);
				break;
			default:
				/* control characters are not allowed in HTML */
				fputc((unsigned char) *c < 0x20 || *c == 0x7f ? ' ' : *c, out);
		}
}

static void
put_base64(FILE *out, const uint8_t *data, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < size; i += 3)
	{
		size_t have = size - i < 3 ? size - i : 3;
		uint32_t group = (uint32_t) data[i] << 16;

		if (have > 1)
			group |= (uint32_t) data[i + 1] << 8;
		if (have > 2)
			group |= data[i + 2];
		fputc(digits[group >> 18], out);
		fputc(digits[group >> 12 & 63], out);
		fputc(have > 1 ? digits[group >> 6 & 63] : '=', out);
		fputc(have > 2 ? digits[group & 63] : '=', out);
	}
}

/* --------------------------------------------------------------- picture to JPEG */

static bool
read_file(const char *path, uint8_t **data, size_t *size, ImageError *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "rb");
	struct stat st;

	*data = NULL;
	if (file == NULL)
	{
		snprintf(why->text, sizeof why->text, "cannot open: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		snprintf(why->text, sizeof why->text, "not a plain file");
	else if (st.st_size > MAX_FILE)
		snprintf(why->text, sizeof why->text, "too large: %lld bytes",
				 (long long) st.st_size);
	else if ((*data = malloc((size_t) st.st_size + 1)) == NULL)
		snprintf(why->text, sizeof why->text, "out of memory");
	else
		*size = fread(*data, 1, (size_t) st.st_size, file);
	fclose(file);
	return *data != NULL;
}

/* Pixels as a JPEG of at most thumbnail size, in the same proportions. */
static bool
encode_thumbnail(const Image *img, uint8_t **data, size_t *size, ImageError *why)
{
	int side = img->width < img->height ? img->width : img->height;
	double by = side > THUMB_SIDE ? (double) THUMB_SIDE / side : 1;
	ImagePreprocess pre = {.filter = IMAGE_AREA};
	Image small = {0};
	bool ok;

	if (by == 1)
		return image_encode_jpeg(img, 92, data, size, why);
	pre.width = (int) (img->width * by + 0.5);
	pre.height = (int) (img->height * by + 0.5);
	/* a strip keeps its place on the page, not its full length */
	pre.width = pre.width > 8 * THUMB_SIDE ? 8 * THUMB_SIDE : pre.width;
	pre.height = pre.height > 8 * THUMB_SIDE ? 8 * THUMB_SIDE : pre.height;
	small.width = pre.width;
	small.height = pre.height;
	small.rgb = malloc((size_t) pre.width * pre.height * 3);
	if (small.rgb == NULL)
	{
		snprintf(why->text, sizeof why->text, "out of memory");
		return false;
	}
	ok = image_prepare(img, &pre, small.rgb, why) &&
		 image_encode_jpeg(&small, 85, data, size, why);
	free(small.rgb);
	return ok;
}

/*
 * The bytes to embed, malloc'ed.  *small tells of pictures with so few pixels that
 * they are better enlarged without smoothing.
 */
static bool
picture_jpeg(const ReportPicture *p, uint8_t **data, size_t *size, bool *small,
			 ImageError *why)
{
	Image img;
	uint8_t *file;
	size_t file_size = 0;
	bool ok;

	if (p->path == NULL)
	{
		*small = p->image->width < 84;
		return encode_thumbnail(p->image, data, size, why);
	}
	if (!read_file(p->path, &file, &file_size, why))
		return false;
	/* decoded even if embedded as it is: the page must not pass on a broken file */
	if (!image_decode_jpeg(file, file_size, THUMB_SIDE, &image_default_limits, &img, NULL,
						   why))
	{
		free(file);
		return false;
	}
	*small = img.width < 84;
	if (file_size <= EMBED_AS_IS)
	{
		*data = file;
		*size = file_size;
		image_free(&img);
		return true;
	}
	ok = encode_thumbnail(&img, data, size, why);
	image_free(&img);
	free(file);
	return ok;
}

/* ------------------------------------------------------------------------- page */

static void
put_picture(FILE *out, const ReportPicture *p, int *unreadable)
{
	uint8_t *data;
	size_t size;
	bool small = false;
	ImageError why;

	if (!picture_jpeg(p, &data, &size, &small, &why))
	{
		++*unreadable;
		fputs("<span class=\"none\">", out);
		put_text(out, why.text);
		fputs("</span>", out);
		return;
	}
	fprintf(out, "<img%s alt=\"", small ? " class=\"small\"" : "");
	put_text(out, p->caption ? p->caption : "");
	fputs("\" title=\"", out);
	put_text(out, p->name ? p->name : p->path ? p->path : "");
	fputs("\" src=\"data:image/jpeg;base64,", out);
	put_base64(out, data, size);
	fputs("\">", out);
	free(data);
}

static void
put_row(FILE *out, const ReportRow *row, int *unreadable)
{
	int right = 0;

	for (int i = 0; i < row->nresults; i++)
		right += row->result[i].relevant;
	fputs("<section><figure class=\"query\">", out);
	put_picture(out, &row->query, unreadable);
	fputs("<figcaption>", out);
	put_text(out, row->query.caption ? row->query.caption : "");
	fprintf(out, "<br>%d of %d right</figcaption></figure><div class=\"found\">\n", right,
			row->nresults);
	for (int i = 0; i < row->nresults; i++)
	{
		const ReportResult *r = &row->result[i];

		fprintf(out, "<figure class=\"%s\">", r->relevant ? "right" : "wrong");
		put_picture(out, &r->picture, unreadable);
		fprintf(out, "<figcaption><b>%s</b> %.6g", r->relevant ? "&#10003;" : "&#10007;",
				r->distance);
		if (r->picture.caption)
		{
			fputs("<br>", out);
			put_text(out, r->picture.caption);
		}
		fputs("</figcaption></figure>\n", out);
	}
	fputs("</div></section>\n", out);
}

static void
put_page(FILE *out, const ContactSheet *sheet, int *unreadable)
{
	int results = 0, right = 0;

	for (int r = 0; r < sheet->nrows; r++)
	{
		results += sheet->row[r].nresults;
		for (int i = 0; i < sheet->row[r].nresults; i++)
			right += sheet->row[r].result[i].relevant;
	}
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
		  "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
		  out);
	put_text(out, sheet->title);
	fprintf(out, "</title>\n<style>\n%s</style></head>\n<body><header><h1>", style);
	put_text(out, sheet->title);
	fputs("</h1>\n", out);
	if (sheet->about)
	{
		fputs("<p>", out);
		put_text(out, sheet->about);
		fputs("</p>\n", out);
	}
	fprintf(out,
			"<p>%d queries, each followed by its nearest pictures with their Hamming "
			"distances. &#10003; shares a label with the query, &#10007; does not: "
			"%d of %d shown are right",
			sheet->nrows, right, results);
	if (results)
		fprintf(out, " (%.1f %%)", 100.0 * right / results);
	fputs(".</p></header>\n<main>\n", out);
	for (int r = 0; r < sheet->nrows; r++)
		put_row(out, &sheet->row[r], unreadable);
	fputs("</main></body></html>\n", out);
}

bool
report_contact_sheet(const char *path, const ContactSheet *sheet, int *unreadable,
					 TrainError *err)
{
	char *part;
	FILE *out;
	bool ok;

	*unreadable = 0;
	if (asprintf(&part, "%s.part", path) < 0)
		return train_fail(err, "out of memory");
	out = fopen(part, "w");
	if (out == NULL)
	{
		train_fail(err, "cannot create \"%s\": %s", path, strerror(errno));
		free(part);
		return false;
	}
	put_page(out, sheet, unreadable);
	ok = !ferror(out);
	ok = fclose(out) == 0 && ok;
	ok = ok && rename(part, path) == 0;
	if (!ok)
	{
		train_fail(err, "cannot write \"%s\": %s", path, strerror(errno));
		unlink(part);
	}
	free(part);
	return ok;
}
