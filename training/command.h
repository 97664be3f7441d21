/*
 * command.h
 *	  The subcommands of deephash-train, one file each.
 */
#ifndef TRAIN_COMMAND_H
#define TRAIN_COMMAND_H

#include <getopt.h>

#include "training/train.h"

enum
{
	COMMAND_OK = 0,
	COMMAND_FAILED = 1,
	COMMAND_USAGE = 2
};

typedef struct Command
{
	const char *name;
	const char *about;
	/* argv[0] is the subcommand's name; returns the exit status */
	int (*run)(int argc, char **argv);
} Command;

extern int cmd_train(int argc, char **argv);
extern int cmd_recipes(int argc, char **argv);
extern int cmd_eval(int argc, char **argv);
extern int cmd_encode(int argc, char **argv);
extern int cmd_inspect(int argc, char **argv);
extern int cmd_synth(int argc, char **argv);
extern int cmd_images(int argc, char **argv);
extern int cmd_sheet(int argc, char **argv);
extern int cmd_import(int argc, char **argv);
extern int cmd_classify(int argc, char **argv);

/*
 * Help for commands.  Both print "deephash-train NAME: ..." on stderr and return the
 * exit status for it.
 */
extern int command_failed(const char *name, const TrainError *err);
extern int command_usage(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * The options of a command: set is told of each, by the letter in its table, with the
 * value in optarg, and says whether that is allowed; "help" has the letter h.  Returns
 * the exit status where the command is to end at once, else -1.
 */
extern int command_options(const char *name, int argc, char **argv,
						   const struct option *options, void (*usage)(void),
						   bool (*set)(void *arg, int option), void *arg);

/*
 * Values of options.  The text of a number must be one as a whole, within the range. What
 * is refused leaves a note of what it must be, which command_refused reads.
 */
extern bool command_int(const char *text, int low, int high, int *out);
extern bool command_seed(const char *text, uint64_t *out);
extern bool command_double(const char *text, double low, double high, double *out);
extern bool command_want(bool good, const char *what); /* good, with the note */
/* "--OPTION cannot be ...: it must be ..."; returns the exit status. */
extern int command_refused(const char *name, const char *option, const char *value);

/* CPUs that this process may use. */
extern int command_cpus(void);

/* Told of each unreadable picture: one line on stderr. */
extern void command_bad_picture(const char *source, const char *why);

#endif
