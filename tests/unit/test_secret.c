// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The arena: locked, guarded, absent from core dumps and children; blocks come zeroed and never overlap. */
#include "../../user/crypto/secret.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_COUNT_ERRORS 0
#define VALGRIND_MAKE_MEM_UNDEFINED(ptr, len) (void)(ptr)
#define VALGRIND_MAKE_MEM_DEFINED(ptr, len) (void)(ptr)
#endif

#include "vectors.c"

#define SEED 0x5eed0004ULL
#define MIB (1UL << 20)

/* Sanitizers make locking memory a no-op and catch signals. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

/* A fresh arena for each test. */
static int setup(void **state)
{
	*state = NULL;
	return secret_init(16 * MIB);
}

static int teardown(void **state)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);

	(void)state;
	if (arena.base)
		munmap(arena.base - guard, arena.size + 2 * guard);
	memset(&arena, 0, sizeof(arena));
	pthread_mutex_init(&arena.lock, NULL);
	return 0;
}

/* How a child ends that runs the function: its exit code, or 128 + the signal. */
static int in_child(int (*run)(void))
{
	struct rlimit no_core = { 0, 0 };
	int status;
	pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL); /* cmocka and sanitizers catch it */
		signal(SIGBUS, SIG_DFL);
		_exit(run());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_init_errors(void **state)
{
	(void)state;
	assert_int_equal(secret_init(MIB), -EALREADY);
	teardown(NULL);
	assert_null(secret_alloc(32));
	assert_int_equal(secret_init(0), -EINVAL);
	assert_int_equal(secret_init(SIZE_MAX), -EINVAL);
	assert_true(secret_init(1UL << 62) < 0); /* -ENOMEM, but for emulators */
	assert_null(arena.base);
	assert_int_equal(secret_init(1), 0);
	assert_non_null(secret_alloc(32));
}

static void assert_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], 0);
}

/* Sizes around every class border: aligned, zeroed, and given back the same after use. */
static void test_zeroed_and_reused(void **state)
{
	static const size_t sizes[] = { 0, 1, 32, 63, 64, 65, 128, 400, 4032, 4096, 4097, 8192, 8193, 65536, 70000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *first = secret_alloc(sizes[i]), *again;

		assert_non_null(first);
		assert_int_equal((uintptr_t)first % 64, 0);
		assert_zero(first, sizes[i]);
		memset(first, 0xa5, sizes[i]);
		secret_free(first, sizes[i]);
		/* Wiped at once, not at the next use; the link of the free list is all that is there. */
		if (sizes[i] > sizeof(struct secret_free_block))
			assert_zero(first + sizeof(struct secret_free_block),
				    sizes[i] - sizeof(struct secret_free_block));
		again = secret_alloc(sizes[i]);
		assert_ptr_equal(again, first);
		assert_zero(again, sizes[i]);
	}
	secret_free(NULL, 32);
}

static void test_full(void **state)
{
	size_t n = 0;
	void *last = NULL, *block;

	(void)state;
	while ((block = secret_alloc(1000))) {
		last = block;
		n++;
	}
	assert_int_equal(n, 16 * MIB / 1024);
	assert_int_equal(errno, ENOMEM);
	assert_null(secret_alloc(SECRET_MAX_SIZE));
	assert_null(secret_alloc(SIZE_MAX));
	secret_free(last, 1000);
	assert_ptr_equal(secret_alloc(1000), last);
}

/* The flags of the mapping that holds an address, from /proc/self/smaps. */
static void mapping_flags(const void *address, char *flags, size_t size)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool inside = false;
	char line[512];

	assert_non_null(smaps);
	flags[0] = '\0';
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)address >= start && (uintptr_t)address < end;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			snprintf(flags, size, "%.200s", line + 8);
	}
	fclose(smaps);
}

static void test_mapping(void **state)
{
	char flags[256];

	(void)state;
	if (RUNNING_ON_VALGRIND || HAS_SANITIZER) {
		print_message("not under valgrind or sanitizers: skipped\n");
		skip();
	}
	mapping_flags(secret_alloc(32), flags, sizeof(flags));
	print_message("flags:%s", flags);
	assert_non_null(strstr(flags, " lo")); /* locked */
	assert_non_null(strstr(flags, " dd")); /* not dumped */
	assert_non_null(strstr(flags, " wf")); /* wiped on fork */
	assert_null(strstr(flags, " sh"));
}

static unsigned int count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int n = 0;
	int c;

	assert_non_null(maps);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	fclose(maps);
	return n;
}

/* Many small objects, as of many peers, without a mapping for each. */
static void test_many_objects(void **state)
{
	enum { N = 150000 };
	unsigned int before;

	(void)state;
	teardown(NULL);
	assert_int_equal(secret_init(64 * MIB), 0);
	before = count_mappings();
	for (int i = 0; i < N; i++) {
		uint32_t *object = secret_alloc(i % 3 ? 32 : 420);

		assert_non_null(object);
		assert_int_equal(*object, 0);
		*object = 1;
	}
	if (!RUNNING_ON_VALGRIND)
		assert_in_range(count_mappings(), before, before + 4);
}

static uint8_t *probe;

static int read_probe(void)
{
	return *(volatile uint8_t *)probe;
}

static void test_guards(void **state)
{
	(void)state;
	if (HAS_SANITIZER || RUNNING_ON_VALGRIND) {
		print_message("a sanitizer owns the signal: skipped\n");
		skip();
	}
	assert_non_null(secret_alloc(32));
	probe = arena.base - 1;
	assert_int_equal(in_child(read_probe), 128 + SIGSEGV);
	probe = arena.base + arena.size;
	assert_int_equal(in_child(read_probe), 128 + SIGSEGV);
	/* What has not been handed out is out of reach as well. */
	probe = arena.base + arena.locked;
	assert_int_equal(in_child(read_probe), 128 + SIGSEGV);
	probe = arena.base + arena.locked - 1;
	assert_int_equal(in_child(read_probe), 0);
}

static void test_child_sees_nothing(void **state)
{
	(void)state;
	if (RUNNING_ON_VALGRIND)
		skip();
	probe = secret_alloc(32);
	*probe = 77;
	assert_int_equal(in_child(read_probe), 0);
	assert_int_equal(*probe, 77);
}

/* Without the privilege and with a limit of so many bytes: what secret_init() and then allocations come to. */
static rlim_t memlock_limit;

static bool give_up_privilege(void)
{
	struct rlimit limit = { memlock_limit, memlock_limit };

	return !setrlimit(RLIMIT_MEMLOCK, &limit) && !setregid(65534, 65534) && !setreuid(65534, 65534);
}

static int init_with_limit(void)
{
	unsigned int n = 0;
	int err;

	teardown(NULL);
	if (!give_up_privilege())
		return 100;
	err = secret_init(MIB);
	if (err)
		return -err;
	while (secret_alloc(4096))
		n++;
	return n == memlock_limit / 4096 && (errno == ENOMEM || errno == EAGAIN) ? 0 : 101;
}

static void test_lock_limit(void **state)
{
	(void)state;
	if (geteuid() || RUNNING_ON_VALGRIND || HAS_SANITIZER) {
		print_message("needs root and no sanitizer: skipped\n");
		skip();
	}
	memlock_limit = 0;
	assert_int_equal(in_child(init_with_limit), EPERM);
	memlock_limit = SECRET_SLAB_SIZE / 2;
	assert_int_equal(in_child(init_with_limit), ENOMEM);
	memlock_limit = 3 * SECRET_SLAB_SIZE;
	assert_int_equal(in_child(init_with_limit), 0);
}

/* As the agent does it: the whole arena stays usable, and locked, after the privilege has gone. */
static int limit_after_init(void)
{
	unsigned int n = 0;
	char flags[256];
	void *block, *last = NULL;

	teardown(NULL);
	if (secret_init(MIB) || !give_up_privilege())
		return 100;
	while ((block = secret_alloc(4096))) {
		last = block;
		n++;
	}
	mapping_flags(last, flags, sizeof(flags));
	return n == MIB / 4096 && strstr(flags, " lo") ? 0 : 101;
}

static void test_limit_after_init(void **state)
{
	(void)state;
	if (geteuid() || RUNNING_ON_VALGRIND || HAS_SANITIZER) {
		print_message("needs root and no sanitizer: skipped\n");
		skip();
	}
	memlock_limit = SECRET_SLAB_SIZE;
	assert_int_equal(in_child(limit_after_init), 0);
}

static void *churn(void *arg)
{
	uint64_t seed = SEED + (uintptr_t)arg;
	uint8_t mark = (uint8_t)(uintptr_t)arg, *blocks[64] = { 0 };
	size_t sizes[64];
	uintptr_t bad = 0;

	for (int i = 0; i < 20000; i++) {
		unsigned int slot = vectors_random(&seed) % 64;

		if (blocks[slot]) {
			for (size_t j = 0; j < sizes[slot]; j++)
				bad |= blocks[slot][j] != mark;
			secret_free(blocks[slot], sizes[slot]);
			blocks[slot] = NULL;
			continue;
		}
		sizes[slot] = 1 + vectors_random(&seed) % 500;
		blocks[slot] = secret_alloc(sizes[slot]);
		if (!blocks[slot])
			return (void *)1;
		for (size_t j = 0; j < sizes[slot]; j++)
			bad |= blocks[slot][j];
		memset(blocks[slot], mark, sizes[slot]);
	}
	return (void *)bad;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++) {
		void *bad;

		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
}

static void test_compare(void **state)
{
	uint8_t a[40], b[40];
	uint64_t seed = SEED;

	(void)state;
	vectors_random_bytes(a, sizeof(a), &seed);
	memcpy(b, a, sizeof(b));
	assert_true(secret_equal(a, b, sizeof(a)));
	assert_true(secret_equal(a, b, 0));
	for (size_t i = 0; i < sizeof(a) * 8; i++) {
		b[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(secret_equal(a, b, sizeof(a)));
		b[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	secret_wipe(a, sizeof(a));
	assert_true(secret_is_zero(a, sizeof(a)));
	for (size_t i = 0; i < sizeof(a) * 8; i++) {
		a[i / 8] = (uint8_t)(1 << i % 8);
		assert_false(secret_is_zero(a, sizeof(a)));
		a[i / 8] = 0;
	}
}

static void test_constant_time(void **state)
{
	uint8_t a[32] = { 1 }, b[32] = { 1 };
	unsigned int errors;
	bool equal, zero;

	(void)state;
	if (!RUNNING_ON_VALGRIND) {
		print_message("not under valgrind: skipped\n");
		skip();
	}
	errors = (unsigned int)VALGRIND_COUNT_ERRORS;
	VALGRIND_MAKE_MEM_UNDEFINED(a, sizeof(a));
	VALGRIND_MAKE_MEM_UNDEFINED(b, sizeof(b));
	equal = secret_equal(a, b, sizeof(a));
	zero = secret_is_zero(a, sizeof(a));
	assert_int_equal(VALGRIND_COUNT_ERRORS, errors);
	/* The verdict may show. */
	VALGRIND_MAKE_MEM_DEFINED(&equal, sizeof(equal));
	VALGRIND_MAKE_MEM_DEFINED(&zero, sizeof(zero));
	assert_true(equal && !zero);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_init_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeroed_and_reused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mapping, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_guards, setup, teardown),
		cmocka_unit_test_setup_teardown(test_child_sees_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit_after_init, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_constant_time),
	};

	print_message("seed %#llx\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
