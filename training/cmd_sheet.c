/*
 * cmd_sheet.c
 *	  deephash-train sheet: a page of queries and what was found for them.
 */
#include "training/command.h"
#include "training/report.h"

#include <getopt.h>
#include <stdio.h>

static void
help(void)
{
	puts("Usage: deephash-train sheet [OPTION]... RESULTS.tsv SHEET.html\n"
		 "\n"
		 "Write an HTML page that shows each query beside the pictures found for it, "
		 "with\n"
		 "distances and a mark for right and wrong ones. Pictures are embedded: the page "
		 "is\n"
		 "one file that can be moved or sent.\n"
		 "\n"
		 "RESULTS.tsv has a line for each result, those of one query together:\n"
		 "  query path <TAB> rank <TAB> result path <TAB> distance <TAB> relevant (0 or "
		 "1)\n"
		 "\n"
		 "  --root DIR    folder that relative paths begin from (default: this one)\n"
		 "  --title TEXT  heading of the page\n"
		 "  --about TEXT  a sentence below it\n"
		 "  --help        this text");
}

int
cmd_sheet(int argc, char **argv)
{
	static const struct option options[] = {{"root", required_argument, NULL, 'r'},
											{"title", required_argument, NULL, 't'},
											{"about", required_argument, NULL, 'a'},
											{"help", no_argument, NULL, 'h'},
											{NULL, 0, NULL, 0}};
	ContactSheet sheet = {.title = "Nearest pictures by hash code"};
	const char *root = NULL;
	TrainError err;
	int unreadable, option;
	bool ok;

	optind = 1;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (option)
		{
			case 'r':
				root = optarg;
				break;
			case 't':
				sheet.title = optarg;
				break;
			case 'a':
				sheet.about = optarg;
				break;
			case 'h':
				help();
				return COMMAND_OK;
			default:
				fprintf(stderr, "Try \"deephash-train sheet --help\".\n");
				return COMMAND_USAGE;
		}
	if (argc - optind != 2)
		return command_usage("sheet", "expected a results file and the page to write");
	if (!report_read_tsv(argv[optind], root, &sheet, &err))
		return command_failed("sheet", &err);
	ok = report_contact_sheet(argv[optind + 1], &sheet, &unreadable, &err);
	if (ok)
		printf("%s: %d queries\n", argv[optind + 1], sheet.nrows);
	if (ok && unreadable)
		fprintf(stderr, "%d pictures could not be read; their frames say why\n",
				unreadable);
	report_free(&sheet);
	return ok ? COMMAND_OK : command_failed("sheet", &err);
}
