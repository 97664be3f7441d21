/*
 * test_train_report.c
 *	  The contact sheet: what it embeds, what it escapes, what it refuses.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "training/report.h"

static char root[64];

static int
set_up(void **state)
{
	(void) state;
	strcpy(root, "/tmp/deephash-report-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void) st;
	(void) type;
	(void) ftw;
	return remove(path);
}

static int
tear_down(void **state)
{
	(void) state;
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *
in_root(const char *name)
{
	static char path[4][256];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
	return path[turn];
}

static void
write_file(const char *name, const void *data, size_t size)
{
	FILE *file = fopen(in_root(name), "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	fclose(file);
}

static void
write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static char *
read_text(const char *name)
{
	FILE *file = fopen(in_root(name), "rb");
	char *text = calloc(1, 4 << 20);

	assert_non_null(file);
	assert_true(fread(text, 1, (4 << 20) - 1, file) > 0);
	fclose(file);
	return text;
}

/* A picture of noise, so that its JPEG is as large as its pixels make it. */
static Image
noise_picture(int width, int height)
{
	Image img = {width, height, malloc((size_t) width * height * 3)};
	Rng rng;

	rng_seed(&rng, 1, 1);
	for (int i = 0; i < width * height * 3; i++)
		img.rgb[i] = (uint8_t) rng_below(&rng, 256);
	return img;
}

static void
write_picture(const char *name, int width, int height)
{
	Image img = noise_picture(width, height);
	uint8_t *data;
	size_t size;
	ImageError err;

	assert_true(image_encode_jpeg(&img, 90, &data, &size, &err));
	write_file(name, data, size);
	free(data);
	image_free(&img);
}

static int
count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* Decode the nth embedded picture of the page. */
static Image
embedded(const char *html, int n)
{
	static const char mark[] = "data:image/jpeg;base64,";
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t *data = malloc(strlen(html));
	size_t size = 0;
	uint32_t bits = 0;
	int have = 0;
	Image img;
	ImageError err;

	for (; n >= 0; n--)
		html = strstr(html, mark) + sizeof mark - 1;
	for (; *html != '"' && *html != '='; html++)
	{
		bits = bits << 6 | (uint32_t) (strchr(digits, *html) - digits);
		have += 6;
		if (have >= 8)
		{
			have -= 8;
			data[size++] = (uint8_t) (bits >> have);
		}
	}
	if (!image_decode_jpeg(data, size, 0, &image_default_limits, &img, NULL, &err))
		fail_msg("%s", err.text);
	free(data);
	return img;
}

static void
sheet_from_results(void **state)
{
	(void) state;
	ContactSheet sheet = {.title = "A & B", .about = "<b>all</b>"};
	TrainError err;
	int unreadable;
	char *html;
	Image img;

	assert_int_equal(mkdir(in_root("cat"), 0700), 0);
	assert_int_equal(mkdir(in_root("do<g"), 0700), 0);
	write_picture("cat/1.jpg", 32, 32);
	write_picture("cat/2.jpg", 600, 300);
	write_picture("do<g/\"x\".jpg", 40, 30);
	write_text("r.tsv", "query\trank\tresult\tdistance\trelevant\n"
						"cat/1.jpg\t2\tdo<g/\"x\".jpg\t7.5\t0\n"
						"cat/1.jpg\t1\tcat/2.jpg\t3\t1\r\n"
						"\n"
						"do<g/\"x\".jpg\t1\tcat/absent.jpg\t0\t0");
	assert_true(report_read_tsv(in_root("r.tsv"), root, &sheet, &err));
	assert_int_equal(sheet.nrows, 2);
	assert_int_equal(sheet.row[0].nresults, 2);
	assert_int_equal(sheet.row[0].result[0].rank, 1);
	assert_string_equal(sheet.row[0].result[0].picture.caption, "cat");
	if (!report_contact_sheet(in_root("sheet.html"), &sheet, &unreadable, &err))
		fail_msg("%s", err.text);
	assert_int_equal(unreadable, 1);
	html = read_text("sheet.html");
	assert_int_equal(count(html, "<section>"), 2);
	assert_int_equal(count(html, "data:image/jpeg;base64,"), 4);
	assert_int_equal(count(html, "<figure class=\"right\">"), 1);
	assert_int_equal(count(html, "<figure class=\"wrong\">"), 2);
	assert_non_null(strstr(html, "A &amp; B</h1>"));
	assert_non_null(strstr(html, "&lt;b&gt;all&lt;/b&gt;"));
	assert_non_null(strstr(html, "1 of 3 shown are right (33.3 %)"));
	assert_non_null(strstr(html, "1 of 2 right"));
	assert_non_null(strstr(html, "</b> 7.5<br>do&lt;g"));
	assert_non_null(strstr(html, "title=\"do&lt;g/&quot;x&quot;.jpg\""));
	assert_non_null(strstr(html, "cannot open: No such file"));
	assert_null(strstr(html, "<b>all"));
	assert_null(strstr(html, "http")); /* nothing is fetched from elsewhere */
	/* the small picture as it is, the large one as a thumbnail of its proportions */
	img = embedded(html, 0);
	assert_int_equal(img.width, 32);
	image_free(&img);
	img = embedded(html, 1);
	assert_int_equal(img.height, 144);
	assert_int_equal(img.width, 288);
	image_free(&img);
	assert_int_equal(access(in_root("sheet.html.part"), F_OK), -1);
	free(html);
	report_free(&sheet);
}

static void
sheet_from_pixels(void **state)
{
	(void) state;
	Image img = noise_picture(16, 16), back;
	ReportResult result = {.picture = {.image = &img}, .distance = 2, .relevant = true};
	ReportRow row = {.query = {.image = &img, .caption = "q"}, &result, 1};
	ContactSheet sheet = {.title = "t", .row = &row, .nrows = 1};
	TrainError err;
	int unreadable;
	char *html;

	assert_true(report_contact_sheet(in_root("s.html"), &sheet, &unreadable, &err));
	assert_int_equal(unreadable, 0);
	html = read_text("s.html");
	assert_int_equal(count(html, "class=\"small\""), 2);
	back = embedded(html, 1);
	assert_int_equal(back.width, 16);
	image_free(&back);
	image_free(&img);
	free(html);
	assert_false(report_contact_sheet(in_root("no/s.html"), &sheet, &unreadable, &err));
	assert_non_null(strstr(err.text, "cannot create"));
}

static void
check_error(const char *text, const char *want)
{
	ContactSheet sheet = {.title = "t"};
	TrainError err;

	write_text("e.tsv", text);
	assert_false(report_read_tsv(in_root("e.tsv"), NULL, &sheet, &err));
	if (!strstr(err.text, want))
		fail_msg("\"%s\" does not say \"%s\"", err.text, want);
	assert_null(sheet.row);
}

static void
errors(void **state)
{
	(void) state;
	ContactSheet sheet = {.title = "t"};
	TrainError err;

	check_error("", "holds no results");
	check_error("query\trank\n", "holds no results");
	check_error("a\t1\tb\t2\n", "line 1: 4 fields, expected 5");
	check_error("a\t1\tb\t2\t1\t1\n", "line 1: 6 fields");
	check_error("a\t1\tb\t2\t1\na\tx\tb\t2\t1\n", "line 2: \"x\" is no rank");
	check_error("a\t-1\tb\t2\t1\n", "\"-1\" is no rank");
	check_error("a\t1\tb\tnan\t1\n", "\"nan\" is no distance");
	check_error("a\t1\tb\t\t1\n", "\"\" is no distance");
	check_error("a\t1\tb\t2\tt\n", "relevant is \"t\", expected 0 or 1");
	check_error("\t1\tb\t2\t1\n", "an empty path");
	check_error("a\t1\t\t2\t1\n", "an empty path");
	assert_false(report_read_tsv(in_root("absent"), NULL, &sheet, &err));
	assert_non_null(strstr(err.text, "cannot open"));
	write_file("z.tsv", "a\t1\tb\0\t2\t1\n", 11);
	assert_false(report_read_tsv(in_root("z.tsv"), NULL, &sheet, &err));
	assert_non_null(strstr(err.text, "line 1: a zero byte"));
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(sheet_from_results),
		FILE_TEST(sheet_from_pixels),
		FILE_TEST(errors),
	};

	return cmocka_run_group_tests_name("train_report", tests, NULL, NULL);
}
