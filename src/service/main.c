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

/* A number within limits, or the end with a message. */
static int64_t
number(const char *option, const char *text, int64_t min, int64_t max)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || *text == '\0' || *end != '\0' || value < min || value > max)
	{
		fprintf(stderr,
				"deephash-encoder: --%s must be a number from %lld to %lld, not \"%s\"\n",
				option, (long long) min, (long long) max, text);
		exit(2);
	}
	return value;
}

static void
parse_options(int argc, char **argv, ServiceConfig *config)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"cache", required_argument, NULL, 'c'},
		{"device", required_argument, NULL, 'd'},
		{"plugin-dir", required_argument, NULL, 'p'},
		{"threads", required_argument, NULL, 't'},
		{"batch-size", required_argument, NULL, 'b'},
		{"batch-wait", required_argument, NULL, 'w'},
		{"device-memory", required_argument, NULL, 'm'},
		{"max-request", required_argument, NULL, 'r'},
		{"max-buffered", required_argument, NULL, 'B'},
		{"max-pixels", required_argument, NULL, 'P'},
		{"max-clients", required_argument, NULL, 'C'},
		{"stall-timeout", required_argument, NULL, 'S'},
		{"precision", required_argument, NULL, 'e'},
		{"no-graphs", no_argument, NULL, 'g'},
		{"no-sandbox", no_argument, NULL, 'n'},
		{"core-files", no_argument, NULL, 'f'},
		{"memory-limit", required_argument, NULL, 'M'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	int c, which = 0;

	while ((c = getopt_long(argc, argv, "", options, &which)) != -1)
	{
		const char *name = options[which].name;

		switch (c)
		{
			case 's':
				config->socket_path = optarg;
				break;
			case 'c':
				config->cache_dir = optarg;
				break;
			case 'd':
				config->device = optarg;
				break;
			case 'p':
				config->plugin_dir = optarg;
				break;
			case 't':
				config->threads = (int) number(name, optarg, 0, 256);
				break;
			case 'b':
				config->batch_size = (int) number(name, optarg, 1, 1024);
				break;
			case 'w':
				config->batch_wait_us = number(name, optarg, 0, 1000000);
				break;
			case 'm':
				config->device_memory = number(name, optarg, 1, INT64_MAX);
				break;
			case 'r':
				config->max_request = number(name, optarg, 1, INT64_C(1) << 30);
				break;
			case 'B':
				config->max_buffered = number(name, optarg, 1, INT64_MAX);
				break;
			case 'P':
				config->max_pixels = number(name, optarg, 1, INT64_C(1) << 32);
				break;
			case 'C':
				config->max_clients = (int) number(name, optarg, 1, 1000000);
				break;
			case 'S':
				config->stall_us = 1000 * number(name, optarg, 0, INT32_MAX);
				break;
			case 'e':
				if (precision_named(optarg, &config->precision))
					break;
				fprintf(
					stderr,
					"deephash-encoder: --precision must be auto, float32, tf32, bf16 or "
					"fp16, not \"%s\"\n",
					optarg);
				exit(2);
			case 'g':
				config->graphs = false;
				break;
			case 'n':
				config->sandbox = false;
				break;
			case 'M':
				config->memory_limit = number(name, optarg, 0, INT64_C(1) << 60);
				break;
			case 'f':
				config->core_files = true;
				break;
			case 'h':
				fputs(usage, stdout);
				exit(0);
			default:
				fputs(usage, stderr);
				exit(2);
		}
	}
	if (config->socket_path == NULL || config->cache_dir == NULL || optind < argc)
	{
		fputs(usage, stderr);
		exit(2);
	}
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
