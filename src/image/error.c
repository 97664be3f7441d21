/*
 * error.c
 *	  Error texts of src/image, and the error manager that keeps libjpeg quiet.
 */
#include "image/image_internal.h"

#include <stdarg.h>

/* Texts come from libjpeg in part: whatever is in them, one line of ASCII leaves. */
static void
make_plain(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

bool
image_fail(ImageError *err, const char *fmt, ...)
{
	va_list args;

	if (err != NULL)
	{
		va_start(args, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, args);
		va_end(args);
		make_plain(err->text);
	}
	return false;
}

static void
on_error(j_common_ptr cinfo)
{
	JpegErrors *errors = (JpegErrors *) cinfo->err;

	errors->code = errors->mgr.msg_code;
	errors->mgr.format_message(cinfo, errors->text);
	longjmp(errors->escape, 1);
}

/* Negative levels are warnings; traces are of no interest. */
static void
on_message(j_common_ptr cinfo, int level)
{
	if (level < 0)
		cinfo->err->num_warnings++;
}

static void
on_output(j_common_ptr cinfo)
{
	(void) cinfo;
}

struct jpeg_error_mgr *
jpeg_errors_init(JpegErrors *errors)
{
	jpeg_std_error(&errors->mgr);
	errors->mgr.error_exit = on_error;
	errors->mgr.emit_message = on_message;
	errors->mgr.output_message = on_output;
	errors->code = 0;
	errors->text[0] = '\0';
	return &errors->mgr;
}

void
jpeg_refuse(j_common_ptr cinfo, const char *fmt, ...)
{
	JpegErrors *errors = (JpegErrors *) cinfo->err;
	va_list args;

	va_start(args, fmt);
	vsnprintf(errors->text, sizeof(errors->text), fmt, args);
	va_end(args);
	errors->code = IMAGE_OWN_ERROR;
	longjmp(errors->escape, 1);
}
