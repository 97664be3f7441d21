/*
 * command.h
 *	  The subcommands of deephash-train, one file each.
 */
#ifndef TRAIN_COMMAND_H
#define TRAIN_COMMAND_H

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

#endif
