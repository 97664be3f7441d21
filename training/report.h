/*
 * report.h
 *	  A page that shows queries and what was found for them.
 */
#ifndef TRAIN_REPORT_H
#define TRAIN_REPORT_H

#include "image/image.h"
#include "training/train.h"

/* A picture of the page: a JPEG file, or pixels where path is NULL. */
typedef struct ReportPicture
{
	const char *path;
	const Image *image;
	const char *name;	 /* shown when pointed at; may be NULL */
	const char *caption; /* below it; may be NULL */
} ReportPicture;

typedef struct ReportResult
{
	ReportPicture picture;
	int rank;
	double distance;
	bool relevant;
} ReportResult;

typedef struct ReportRow
{
	ReportPicture query;
	ReportResult *result; /* nearest first */
	int nresults;
} ReportRow;

typedef struct ContactSheet
{
	const char *title;
	const char *about; /* a sentence below the title; may be NULL */
	ReportRow *row;
	int nrows;
} ContactSheet;

/*
 * Write the sheet as one HTML file that needs nothing else: pictures are embedded as
 * JPEG (small files as they are, others as thumbnails).  Right and wrong results
 * differ by a mark as well as by colour; the page follows the reader's light or dark
 * setting.  A picture that cannot be read becomes an empty frame that says why, and
 * *unreadable counts them.  The file appears whole or not at all.
 */
extern bool report_contact_sheet(const char *path, const ContactSheet *sheet,
								 int *unreadable, TrainError *err);

/*
 * Read rows from a text file of lines
 *
 *	  query path <TAB> rank <TAB> result path <TAB> distance <TAB> relevant (0 or 1)
 *
 * Lines of one query stand together; results are put in the order of their ranks.
 * A first line that begins with "query" and a tab is a heading.  Relative paths are
 * taken from `root` (NULL: the current folder).  The caption of a picture is the
 * name of the folder it lies in, which is its class in a folder of class folders.
 */
extern bool report_read_tsv(const char *file, const char *root, ContactSheet *sheet,
							TrainError *err);

/* Free what report_read_tsv allocated. */
extern void report_free(ContactSheet *sheet);

#endif
