/*
 * main.c
 *	  deephash-encoder: decodes images and runs them through hashing networks, for
 *	  all sessions of one PostgreSQL server.  The supervisor of the extension
 *	  starts it; README.md says how to start one by hand.
 */
#include "service/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int quit_pipe[2];

static void
on_sigterm(int signal)
{
	int saved = errno;

	(void) signal;
	if (write(quit_pipe[1], "", 1) < 0)
	{
		/* Full: it has been told. */
	}
	errno = saved;
}

static int
cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

static const char usage[] =
	"deephash-encoder: the image encoder of one PostgreSQL server\n"
	"usage: deephash-encoder --socket PATH --cache DIR [option...]\n"
	"  --device auto|cuda|cpu     where networks run (auto)\n"
	"  --plugin-dir DIR           where deephash-cuda.so lies (beside the program)\n"
	"  --threads N                decoding threads; 0: one per CPU (0)\n"
	"  --batch-size N             images of one forward pass, at most (32)\n"
	"  --batch-wait MICROSECONDS  how long a batch waits for images on their way (1000)\n"
	"  --precision auto|float32|tf32|bf16|fp16\n"
	"                             what a GPU computes in; the CPU: float32 (auto: fp16)\n"
	"  --no-graphs                let CUDA record no graphs of launches\n"
	"  --device-memory BYTES      memory of all resident models (1 GiB)\n"
	"  --max-request BYTES        size of one image (64 MiB)\n"
	"  --max-buffered BYTES       size of all images waiting (256 MiB)\n"
	"  --max-pixels N             width times height of one image (100 million)\n"
	"  --max-clients N            connections (1000)\n"
	"  --stall-timeout MS         leave when no request gets on for so long; 0: never "
	"(0)\n"
	"  --no-sandbox               do not forbid files, sockets, programs, signals\n"
	"  --memory-limit BYTES       its memory beyond what it starts with; 0: none (0)\n"
	"  --core-files               let a crash leave one\n"
	"It ends when its standard input does, in good order at SIGTERM.\n";

typedef enum Kind
{
	TEXT, /* const char * */
	INT,  /* int, within limits */
	LONG, /* int64_t, within limits */
	ON,	  /* bool: sets it */
	OFF	  /* bool: clears it */
} Kind;

typedef struct Option
{
	const char *name;
	Kind kind;
	void *value;
	int64_t min, max;
} Option;

/* A number within limits, or the end with a message. */
static int64_t
number(const Option *option, const char *text)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || *text == '\0' || *end != '\0' || value < option->min ||
		value > option->max)
	{
		fprintf(stderr,
				"deephash-encoder: --%s must be a number from %lld to %lld, not \"%s\"\n",
				option->name, (long long) option->min, (long long) option->max, text);
		exit(2);
	}
	return value;
}

static void
take_option(const Option *option, const char *text)
{
	switch (option->kind)
	{
		case TEXT:
			*(const char **) option->value = text;
			break;
		case INT:
			*(int *) option->value = (int) number(option, text);
			break;
		case LONG:
			*(int64_t *) option->value = number(option, text);
			break;
		case ON:
		case OFF:
			*(bool *) option->value = option->kind == ON;
			break;
	}
}

/* Take each option; false: there is one that does not exist, or something else. */
static bool
take_options(int argc, char **argv, const Option *option, int n)
{
	struct option known[32] = {0};
	int i;

	for (i = 0; i < n; i++)
		known[i] = (struct option){.name = option[i].name,
								   .has_arg = option[i].kind < ON ? required_argument
																  : no_argument,
								   .val = i};
	while ((i = getopt_long(argc, argv, "", known, NULL)) != -1)
	{
		if (i == '?')
			return false;
		take_option(&option[i], optarg);
	}
	return optind == argc;
}

static void
parse_options(int argc, char **argv, ServiceConfig *config)
{
	const char *precision = "auto";
	int64_t stall_ms = 0;
	bool help = false;
	const Option options[] = {
		{"socket", TEXT, &config->socket_path, 0, 0},
		{"cache", TEXT, &config->cache_dir, 0, 0},
		{"device", TEXT, &config->device, 0, 0},
		{"plugin-dir", TEXT, &config->plugin_dir, 0, 0},
		{"threads", INT, &config->threads, 0, 256},
		{"batch-size", INT, &config->batch_size, 1, 1024},
		{"batch-wait", LONG, &config->batch_wait_us, 0, 1000000},
		{"precision", TEXT, &precision, 0, 0},
		{"no-graphs", OFF, &config->graphs, 0, 0},
		{"device-memory", LONG, &config->device_memory, 1, INT64_MAX},
		{"max-request", LONG, &config->max_request, 1, INT64_C(1) << 30},
		{"max-buffered", LONG, &config->max_buffered, 1, INT64_MAX},
		{"max-pixels", LONG, &config->max_pixels, 1, INT64_C(1) << 32},
		{"max-clients", INT, &config->max_clients, 1, 1000000},
		{"stall-timeout", LONG, &stall_ms, 0, INT32_MAX},
		{"no-sandbox", OFF, &config->sandbox, 0, 0},
		{"memory-limit", LONG, &config->memory_limit, 0, INT64_C(1) << 60},
		{"core-files", ON, &config->core_files, 0, 0},
		{"help", ON, &help, 0, 0},
	};
	bool good =
		take_options(argc, argv, options, (int) (sizeof(options) / sizeof(options[0])));

	if (help)
	{
		fputs(usage, stdout);
		exit(0);
	}
	if (!good || config->socket_path == NULL || config->cache_dir == NULL)
	{
		fputs(usage, stderr);
		exit(2);
	}
	if (!precision_named(precision, &config->precision))
	{
		fprintf(stderr,
				"deephash-encoder: --precision must be auto, float32, tf32, bf16 or "
				"fp16, not \"%s\"\n",
				precision);
		exit(2);
	}
	config->stall_us = 1000 * stall_ms;
	if (config->threads == 0)
		config->threads = cpus();
}

/* Signals: SIGTERM asks for an orderly end, those of terminals are not for us. */
static bool
prepare_signals(void)
{
	struct sigaction action = {.sa_handler = on_sigterm, .sa_flags = SA_RESTART};

	if (pipe2(quit_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	return true;
}

int
main(int argc, char **argv)
{
	ServiceConfig config = {.device = "auto",
							.batch_size = 32,
							.batch_wait_us = 1000,
							.device_memory = INT64_C(1) << 30,
							.max_request = INT64_C(64) << 20,
							.max_buffered = INT64_C(256) << 20,
							.max_pixels = 100000000,
							.max_clients = 1000,
							.precision = PRECISION_AUTO,
							.graphs = true,
							.sandbox = true};
	Failure failure = {.text = ""};
	NnError err = {""};
	char device_text[256] = "";
	const NnDevice *device;

	parse_options(argc, argv, &config);
	/* The supervisor's end of standard input closes with it; this is faster. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prepare_process(config.core_files);
	if (!prepare_signals())
	{
		say('F', "could not make a pipe: %s", strerror(errno));
		return 1;
	}
	device = nn_device(config.device, config.plugin_dir, &err);
	if (device == NULL)
	{
		say('F', "device \"%s\" cannot be had: %s", config.device, err.text);
		return 3;
	}
	device->probe(device_text, sizeof(device_text));
	/* Not before: drivers may want to read what this closes to them. */
	if (!config.core_files)
		prctl(PR_SET_DUMPABLE, 0);
	if (!serve(&config, device, device_text, STDIN_FILENO, quit_pipe[0], &failure) &&
		failure.text[0] != '\0')
	{
		say('F', "%s", failure.text);
		return 1;
	}
	return 0;
}
