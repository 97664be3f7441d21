/*
 * test_service_kept.c
 *	  Statistics that outlive the engine: kept, begun anew where the file is not theirs,
 *	  and kept in memory where there can be no file.
 */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service_samples.h"
#include "service/kept.h"

static char dir[] = "/tmp/deephash_kept.XXXXXX";
static char path[100];

static int
setup(void **state)
{
	(void) state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/stats", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	return remove_folder(dir);
}

static void
test_kept(void **state)
{
	Kept *kept = kept_open(dir);
	struct stat st;
	int64_t since;

	(void) state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, sizeof(Kept));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(kept->restarts, 0);
	assert_true(llabs(wall_us() - kept->since) < 3600 * INT64_C(1000000));
	since = kept->since;
	kept->answers[DEEPHASH_BAD_IMAGE] = 3;
	kept->encode_answers = 7;
	histogram_add(&kept->times.queue, 1000);
	kept_close(kept);

	kept = kept_open(dir);
	assert_int_equal(kept->restarts, 1);
	assert_int_equal(kept->since, since);
	assert_int_equal(kept->answers[DEEPHASH_BAD_IMAGE], 3);
	assert_int_equal(kept->encode_answers, 7);
	assert_int_equal(kept->times.queue.count, 1);
	kept_reset(kept);
	assert_int_equal(kept->restarts, 0);
	assert_int_equal(kept->encode_answers, 0);
	assert_int_equal(kept->answers[DEEPHASH_BAD_IMAGE], 0);
	assert_true(kept->since >= since);
	kept_close(kept);
}

/* Who dies has counted. */
static void
test_killed(void **state)
{
	Kept *kept;
	pid_t pid;

	(void) state;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
	{
		kept = kept_open(dir);
		kept->encode_answers = 99;
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	kept = kept_open(dir);
	assert_int_equal(kept->encode_answers, 99);
	kept_close(kept);
}

static void
write_over(long at, const void *bytes, size_t n)
{
	FILE *file = fopen(path, "r+");

	assert_non_null(file);
	fseek(file, at, SEEK_SET);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static void
expect_anew(void)
{
	Kept *kept = kept_open(dir);

	assert_int_equal(kept->restarts, 0);
	assert_int_equal(kept->encode_answers, 0);
	assert_int_equal(kept->times.queue.count, 0);
	kept->encode_answers = 5;
	histogram_add(&kept->times.queue, 1);
	kept_close(kept);
}

static void
test_other_contents(void **state)
{
	static const uint64_t other = 12345;

	(void) state;
	unlink(path);
	expect_anew();
	write_over(offsetof(Kept, magic), &other, sizeof(other));
	expect_anew();
	write_over(offsetof(Kept, bytes), &other, sizeof(other));
	expect_anew();
	assert_int_equal(truncate(path, 100), 0);
	expect_anew();
	assert_int_equal(truncate(path, 0), 0);
	expect_anew();
	assert_int_equal(truncate(path, 1000000), 0);
	expect_anew();
}

/* Numbers that make no sense are shown as they are, and lead nowhere. */
static void
test_hostile_numbers(void **state)
{
	Kept *kept = kept_open(dir);

	(void) state;
	memset(&kept->times, 0xff, sizeof(kept->times));
	for (double p = 0; p <= 1; p += 0.01)
		histogram_percentile(&kept->times.compute, p);
	histogram_add(&kept->times.compute, 5);
	kept_close(kept);
	unlink(path);
}

/* No file can be had: it counts all the same. */
static void
test_no_file(void **state)
{
	char target[120];
	Kept *kept;

	(void) state;
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_anew();
	expect_anew();
	rmdir(path);
	snprintf(target, sizeof(target), "%s/target", dir);
	assert_int_equal(symlink(target, path), 0);
	expect_anew();
	assert_int_equal(access(target, F_OK), -1);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_anew();
	unlink(path);
	kept = kept_open("/nowhere/at/all");
	assert_non_null(kept);
	kept_close(kept);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),		   cmocka_unit_test(test_killed),
		cmocka_unit_test(test_other_contents), cmocka_unit_test(test_hostile_numbers),
		cmocka_unit_test(test_no_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
