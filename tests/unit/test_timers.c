// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Every rule of the timers as a row of a table; then what follows from the rules together, on a simulated clock.
 */
#include "../../user/timers.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000000ULL
#define S NS_PER_SECOND
#define T0 (1000 * S) /* when scripts start */
#define HALF 0x80000000U /* a random word, and the jitter it stands for */
#define HALF_JITTER (S / 3 / 2)
#define NEVER TIMERS_NEVER

enum event {
	END,
	EXPECT, /* deadlines only */
	EXPIRE,
	START,
	STOP,
	DATA_SENT,
	DATA_RECEIVED,
	ANY_SENT,
	ANY_RECEIVED,
	TRAVERSAL,
	INITIATED,
	COMPLETE,
	DERIVED,
	HANDSHAKE_SENT,
	POSTPONED,
	SET_PERSISTENT, /* arg: seconds */
	SET_ATTEMPTS,   /* arg */
};

/* After the event, timer has this deadline (after T0; NEVER: not pending) and EXPIRE has asked for these actions. */
struct step {
	uint64_t at_ns; /* after T0 */
	enum event event;
	unsigned int arg;
	enum timer timer;
	uint64_t deadline_ns;
	unsigned int actions;
};

struct script {
	const char *rule;
	struct step steps[12];
};

#define SEND TIMER_ACTION_SEND_INITIATION
#define RETRY TIMER_ACTION_RETRY_INITIATION
#define CLEAR TIMER_ACTION_CLEAR_SRC
#define ALIVE TIMER_ACTION_SEND_KEEPALIVE
#define PURGE TIMER_ACTION_PURGE_STAGED
#define ZERO TIMER_ACTION_ZERO_KEY_MATERIAL

#define RETRANSMIT TIMER_RETRANSMIT_HANDSHAKE
#define KEEPALIVE TIMER_SEND_KEEPALIVE
#define NEW TIMER_NEW_HANDSHAKE
#define ZEROING TIMER_ZERO_KEY_MATERIAL
#define PERSISTENT TIMER_PERSISTENT_KEEPALIVE

static const struct script scripts[] = {
	{ "retransmit: 5 s and jitter after an initiation", {
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 1 * S, INITIATED, HALF, RETRANSMIT, 6 * S + HALF_JITTER, 0 },
		{ 6 * S + HALF_JITTER - 1, EXPIRE, 0, RETRANSMIT, 6 * S + HALF_JITTER, 0 },
		{ 6 * S + HALF_JITTER, EXPIRE, 0, RETRANSMIT, NEVER, CLEAR | RETRY },
		{ 7 * S, EXPIRE, 0, RETRANSMIT, NEVER, 0 },
	} },
	{ "retransmit: cancelled by the completed handshake alone", {
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 1 * S, ANY_SENT, 0, RETRANSMIT, 5 * S, 0 },
		{ 1 * S, ANY_RECEIVED, 0, RETRANSMIT, 5 * S, 0 },
		{ 1 * S, DATA_RECEIVED, 0, RETRANSMIT, 5 * S, 0 },
		{ 1 * S, DERIVED, 0, RETRANSMIT, 5 * S, 0 },
		{ 1 * S, COMPLETE, 0, RETRANSMIT, NEVER, 0 },
		{ 6 * S, EXPIRE, 0, RETRANSMIT, NEVER, 0 },
	} },
	{ "retransmit: the 19th retry is the last", {
		{ 0, SET_ATTEMPTS, MAX_TIMER_HANDSHAKES, RETRANSMIT, NEVER, 0 },
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 5 * S, EXPIRE, 0, RETRANSMIT, NEVER, CLEAR | RETRY },
		{ 5 * S, INITIATED, 0, RETRANSMIT, 10 * S, 0 },
		{ 10 * S, EXPIRE, 0, RETRANSMIT, NEVER, PURGE },
	} },
	{ "retransmit: put off to when an initiation may go out", {
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 3 * S, HANDSHAKE_SENT, 0, RETRANSMIT, 5 * S, 0 }, /* a response */
		{ 5 * S, EXPIRE, 0, RETRANSMIT, NEVER, CLEAR | RETRY },
		{ 5 * S, POSTPONED, HALF, RETRANSMIT, 8 * S + HALF_JITTER, 0 },
		{ 8 * S + HALF_JITTER, EXPIRE, 0, RETRANSMIT, NEVER, CLEAR | RETRY },
	} },
	{ "retransmit: one that is pending is not put off", {
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 3 * S, HANDSHAKE_SENT, 0, RETRANSMIT, 5 * S, 0 },
		{ 4 * S, POSTPONED, 0, RETRANSMIT, 5 * S, 0 },
	} },
	{ "give-up: keepalive cancelled, keys to be zeroed", {
		{ 0, SET_ATTEMPTS, MAX_TIMER_HANDSHAKES + 1, RETRANSMIT, NEVER, 0 },
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 5 * S, EXPIRE, 0, KEEPALIVE, NEVER, PURGE },
		{ 5 * S, EXPECT, 0, ZEROING, 545 * S, 0 },
		{ 5 * S, EXPECT, 0, RETRANSMIT, NEVER, 0 },
	} },
	{ "give-up: a pending zeroing stays where it is", {
		{ 0, DERIVED, 0, ZEROING, 540 * S, 0 },
		{ 0, SET_ATTEMPTS, MAX_TIMER_HANDSHAKES + 1, RETRANSMIT, NEVER, 0 },
		{ 1 * S, INITIATED, 0, RETRANSMIT, 6 * S, 0 },
		{ 6 * S, EXPIRE, 0, ZEROING, 540 * S, PURGE },
	} },
	{ "give-up and keepalive due together: no keepalive", {
		{ 0, SET_ATTEMPTS, MAX_TIMER_HANDSHAKES + 1, RETRANSMIT, NEVER, 0 },
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 5 * S, INITIATED, 0, RETRANSMIT, 10 * S, 0 },
		{ 10 * S, EXPIRE, 0, KEEPALIVE, NEVER, PURGE },
	} },
	{ "keepalive: 10 s after data, which does not move it", {
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 10 * S - 1, EXPIRE, 0, KEEPALIVE, 10 * S, 0 },
		{ 10 * S, EXPIRE, 0, KEEPALIVE, NEVER, ALIVE },
		{ 20 * S, EXPIRE, 0, KEEPALIVE, NEVER, 0 },
	} },
	{ "keepalive: more data while pending asks for another one", {
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 3 * S, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 4 * S, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 10 * S, EXPIRE, 0, KEEPALIVE, 20 * S, ALIVE },
		{ 20 * S, EXPIRE, 0, KEEPALIVE, NEVER, ALIVE },
	} },
	{ "keepalive: whatever is sent makes it needless", {
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 1 * S, ANY_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 9 * S, ANY_SENT, 0, KEEPALIVE, NEVER, 0 },
		{ 10 * S, EXPIRE, 0, KEEPALIVE, NEVER, 0 },
	} },
	{ "keepalive: another one is cancelled by the one that is sent", {
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 1 * S, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 10 * S, EXPIRE, 0, KEEPALIVE, 20 * S, ALIVE },
		{ 10 * S, ANY_SENT, 0, KEEPALIVE, NEVER, 0 },
	} },
	{ "keepalive: counted from the data received, not from what was last sent", {
		{ 0, ANY_SENT, 0, KEEPALIVE, NEVER, 0 },
		{ 3600 * S, DATA_RECEIVED, 0, KEEPALIVE, 3610 * S, 0 },
		{ 3600 * S, EXPIRE, 0, KEEPALIVE, 3610 * S, 0 },
	} },
	{ "new handshake: 15 s and jitter after data, not moved by more", {
		{ 0, DATA_SENT, HALF, NEW, 15 * S + HALF_JITTER, 0 },
		{ 9 * S, DATA_SENT, 0, NEW, 15 * S + HALF_JITTER, 0 },
		{ 15 * S + HALF_JITTER - 1, EXPIRE, 0, NEW, 15 * S + HALF_JITTER, 0 },
		{ 15 * S + HALF_JITTER, EXPIRE, 0, NEW, NEVER, CLEAR | SEND },
		{ 99 * S, EXPIRE, 0, NEW, NEVER, 0 },
	} },
	{ "new handshake: cancelled by what is received, not by what is sent", {
		{ 0, DATA_SENT, 0, NEW, 15 * S, 0 },
		{ 1 * S, ANY_SENT, 0, NEW, 15 * S, 0 },
		{ 2 * S, ANY_RECEIVED, 0, NEW, NEVER, 0 },
		{ 3 * S, DATA_SENT, 0, NEW, 18 * S, 0 },
	} },
	{ "new handshake: due together with a retry it is one initiation, the first of a series", {
		{ 0, SET_ATTEMPTS, 7, RETRANSMIT, NEVER, 0 },
		{ 0, DATA_SENT, 0, NEW, 15 * S, 0 },
		{ 10 * S, INITIATED, 0, RETRANSMIT, 15 * S, 0 },
		{ 15 * S, EXPIRE, 0, NEW, NEVER, CLEAR | SEND },
	} },
	{ "zeroing: 540 s after the session, moved by the next session", {
		{ 0, DERIVED, 0, ZEROING, 540 * S, 0 },
		{ 120 * S, DERIVED, 0, ZEROING, 660 * S, 0 },
		{ 130 * S, ANY_SENT, 0, ZEROING, 660 * S, 0 },
		{ 130 * S, ANY_RECEIVED, 0, ZEROING, 660 * S, 0 },
		{ 130 * S, COMPLETE, 0, ZEROING, 660 * S, 0 },
		{ 660 * S - 1, EXPIRE, 0, ZEROING, 660 * S, 0 },
		{ 660 * S, EXPIRE, 0, ZEROING, NEVER, ZERO },
	} },
	{ "persistent keepalive: counted from the last packet, either way", {
		{ 0, SET_PERSISTENT, 25, PERSISTENT, NEVER, 0 },
		{ 0, TRAVERSAL, 0, PERSISTENT, 25 * S, 0 },
		{ 20 * S, TRAVERSAL, 0, PERSISTENT, 45 * S, 0 },
		{ 25 * S, EXPIRE, 0, PERSISTENT, 45 * S, 0 },
		{ 45 * S, EXPIRE, 0, PERSISTENT, 70 * S, ALIVE },
		{ 45 * S + 5, TRAVERSAL, 0, PERSISTENT, 70 * S + 5, 0 },
	} },
	{ "persistent keepalive: switched off while pending", {
		{ 0, SET_PERSISTENT, 25, PERSISTENT, NEVER, 0 },
		{ 0, TRAVERSAL, 0, PERSISTENT, 25 * S, 0 },
		{ 1 * S, SET_PERSISTENT, 0, PERSISTENT, NEVER, 0 },
		{ 1 * S, TRAVERSAL, 0, PERSISTENT, NEVER, 0 },
	} },
	{ "stopped: nothing is pending, nothing is armed", {
		{ 0, SET_PERSISTENT, 25, PERSISTENT, NEVER, 0 },
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 1 * S, STOP, 0, KEEPALIVE, NEVER, 0 },
		{ 2 * S, DATA_RECEIVED, 0, KEEPALIVE, NEVER, 0 },
		{ 2 * S, DATA_RECEIVED, 0, KEEPALIVE, NEVER, 0 },
		{ 2 * S, INITIATED, 0, RETRANSMIT, NEVER, 0 },
		{ 2 * S, TRAVERSAL, 0, PERSISTENT, NEVER, 0 },
		{ 3 * S, START, 0, KEEPALIVE, NEVER, 0 },
		{ 3 * S, DATA_RECEIVED, 0, KEEPALIVE, 13 * S, 0 },
		{ 13 * S, EXPIRE, 0, KEEPALIVE, NEVER, ALIVE },
	} },
	{ "suspended for 8 h: all that is due fires, once", {
		{ 0, SET_PERSISTENT, 25, PERSISTENT, NEVER, 0 },
		{ 0, INITIATED, 0, RETRANSMIT, 5 * S, 0 },
		{ 0, DATA_SENT, 0, NEW, 15 * S, 0 },
		{ 0, DATA_RECEIVED, 0, KEEPALIVE, 10 * S, 0 },
		{ 0, DERIVED, 0, ZEROING, 540 * S, 0 },
		{ 0, TRAVERSAL, 0, PERSISTENT, 25 * S, 0 },
		{ 28800 * S, EXPIRE, 0, RETRANSMIT, NEVER, CLEAR | SEND | ALIVE | ZERO },
		{ 28800 * S, EXPECT, 0, PERSISTENT, 28825 * S, 0 },
		{ 28800 * S, EXPIRE, 0, KEEPALIVE, NEVER, 0 },
		{ 28801 * S, EXPIRE, 0, NEW, NEVER, 0 },
	} },
};

static unsigned int apply(struct timers *timers, const struct step *step)
{
	uint64_t now_ns = T0 + step->at_ns;

	switch (step->event) {
	case EXPIRE:
		return timers_expire(timers, now_ns);
	case START:
		timers_start(timers);
		break;
	case STOP:
		timers_stop(timers, now_ns);
		break;
	case DATA_SENT:
		timers_data_sent(timers, now_ns, step->arg);
		break;
	case DATA_RECEIVED:
		timers_data_received(timers, now_ns);
		break;
	case ANY_SENT:
		timers_any_authenticated_packet_sent(timers);
		break;
	case ANY_RECEIVED:
		timers_any_authenticated_packet_received(timers);
		break;
	case TRAVERSAL:
		timers_any_authenticated_packet_traversal(timers, now_ns);
		break;
	case INITIATED:
		timers_handshake_initiated(timers, now_ns, step->arg);
		break;
	case HANDSHAKE_SENT:
		timers_handshake_sent(timers, now_ns);
		break;
	case POSTPONED:
		timers_initiation_postponed(timers, step->arg);
		break;
	case COMPLETE:
		timers_handshake_complete(timers, 1);
		break;
	case DERIVED:
		timers_session_derived(timers, now_ns);
		break;
	case SET_PERSISTENT:
		timers_set_persistent_keepalive(timers, (uint16_t)step->arg);
		break;
	case SET_ATTEMPTS:
		timers->handshake_attempts = step->arg;
		break;
	default:
		break;
	}
	return 0;
}

static void init_running(struct timers *timers, uint64_t now_ns)
{
	timers_init(timers, now_ns);
	timers_start(timers);
}

static void test_scripts(void **state)
{
	struct timers timers;

	(void)state;
	for (const struct script *script = scripts; script < scripts + sizeof(scripts) / sizeof(scripts[0]); script++) {
		init_running(&timers, T0);
		for (const struct step *step = script->steps; step->event != END; step++) {
			unsigned int actions = apply(&timers, step);
			uint64_t deadline_ns = timers.deadline_ns[step->timer];

			if (deadline_ns != NEVER)
				deadline_ns -= T0;
			if (actions != step->actions || deadline_ns != step->deadline_ns)
				fail_msg("%s: step %zu: actions %#x, deadline %llu", script->rule,
					 (size_t)(step - script->steps) + 1, actions, (unsigned long long)deadline_ns);
		}
	}
}

static void test_init(void **state)
{
	struct timers timers;

	(void)state;
	timers_init(&timers, T0);
	assert_false(timers.is_running);
	assert_true(timers_next_deadline(&timers) == NEVER);
	assert_int_equal(timers_expire(&timers, UINT64_MAX - 1), 0);
	assert_true(timers_may_initiate(&timers, T0));
	assert_int_equal(timers.last_handshake_realtime_ns, 0);
	/* Right after boot the 6 s before now are before the clock's zero. */
	timers_init(&timers, 0);
	assert_true(timers_may_initiate(&timers, 0));
	timers_session_derived(&timers, T0);
	assert_true(timers_next_deadline(&timers) == NEVER);
}

static void test_jitter(void **state)
{
	static const uint32_t randoms[] = { 0, 1, HALF, UINT32_MAX - 1, UINT32_MAX };
	uint64_t previous = 0, greatest = 0;
	struct timers timers;

	(void)state;
	for (size_t i = 0; i < sizeof(randoms) / sizeof(randoms[0]); i++) {
		uint64_t jitter;

		init_running(&timers, T0);
		timers_handshake_initiated(&timers, T0, randoms[i]);
		timers_data_sent(&timers, T0, randoms[i]);
		jitter = timers.deadline_ns[RETRANSMIT] - T0 - 5 * S;
		assert_true(jitter == timers.deadline_ns[NEW] - T0 - 15 * S);
		assert_true(jitter >= previous && jitter < S / 3);
		previous = jitter;
		greatest = jitter;
	}
	assert_true(greatest > 333 * MS);
	/* Uniform: sixteen equal steps of the random word are sixteen equal steps of the delay. */
	for (uint32_t i = 0; i < 16; i++)
		assert_true(jitter_ns(i << 28) == S / 3 * i / 16);
}

static void test_may_initiate(void **state)
{
	struct timers timers;

	(void)state;
	init_running(&timers, T0);
	timers_handshake_sent(&timers, T0);
	assert_false(timers_may_initiate(&timers, T0));
	assert_false(timers_may_initiate(&timers, T0 + 5 * S - 1));
	assert_true(timers_may_initiate(&timers, T0 + 5 * S));
	assert_true(timers_may_initiate(&timers, T0 + 8 * 3600 * S));

	timers_handshake_sent(&timers, T0 + 10 * S);
	timers_reset_last_sent_handshake(&timers, T0 + 10 * S);
	assert_true(timers_may_initiate(&timers, T0 + 10 * S));

	/* Also for a thread that has read the clock a little earlier. */
	assert_true(timers_may_initiate(&timers, T0 + 9 * S));

	timers_handshake_sent(&timers, T0 + 20 * S);
	timers_stop(&timers, T0 + 20 * S);
	assert_true(timers_may_initiate(&timers, T0 + 20 * S));
}

static void test_complete(void **state)
{
	struct timers timers;

	(void)state;
	init_running(&timers, T0);
	timers.handshake_attempts = 5;
	timers.sent_lastminute_handshake = true;
	timers_handshake_complete(&timers, 1700000000 * S);
	assert_int_equal(timers.handshake_attempts, 0);
	assert_false(timers.sent_lastminute_handshake);
	assert_true(timers.last_handshake_realtime_ns == 1700000000 * S);
	timers.handshake_attempts = 5;
	timers_reset_attempts(&timers);
	assert_int_equal(timers.handshake_attempts, 0);
	timers.handshake_attempts = 5;
	timers_data_sent(&timers, T0, 0);
	assert_int_equal(timers_expire(&timers, T0 + 15 * S), CLEAR | SEND);
	assert_int_equal(timers.handshake_attempts, 0);
	/* What people see survives an interface that goes down; the series does not. */
	timers.handshake_attempts = 5;
	timers.sent_lastminute_handshake = true;
	timers_stop(&timers, T0);
	assert_int_equal(timers.handshake_attempts, 0);
	assert_false(timers.sent_lastminute_handshake);
	assert_true(timers.last_handshake_realtime_ns == 1700000000 * S);
}

static void test_next_deadline(void **state)
{
	struct timers timers;

	(void)state;
	init_running(&timers, T0);
	timers_session_derived(&timers, T0);
	assert_true(timers_next_deadline(&timers) == T0 + 540 * S);
	timers_data_sent(&timers, T0, 0);
	assert_true(timers_next_deadline(&timers) == T0 + 15 * S);
	timers_data_received(&timers, T0);
	assert_true(timers_next_deadline(&timers) == T0 + 10 * S);
	timers_any_authenticated_packet_sent(&timers);
	timers_any_authenticated_packet_received(&timers);
	assert_true(timers_next_deadline(&timers) == T0 + 540 * S);
	timers_expire(&timers, T0 + 540 * S);
	assert_true(timers_next_deadline(&timers) == NEVER);
}

/* A clock near its end arms nothing in the past, and a deadline stays a deadline. */
static void test_far_future(void **state)
{
	static const uint64_t nows[] = { 1ULL << 62, INT64_MAX - 1, 1ULL << 63, UINT64_MAX - 600 * S, UINT64_MAX - 2 };
	struct timers timers;

	(void)state;
	for (size_t i = 0; i < sizeof(nows) / sizeof(nows[0]); i++) {
		uint64_t now_ns = nows[i];

		init_running(&timers, now_ns);
		timers_set_persistent_keepalive(&timers, 65535);
		timers_session_derived(&timers, now_ns);
		timers_data_sent(&timers, now_ns, UINT32_MAX);
		timers_data_received(&timers, now_ns);
		timers_handshake_initiated(&timers, now_ns, UINT32_MAX);
		timers_any_authenticated_packet_traversal(&timers, now_ns);
		for (int timer = 0; timer < TIMER_COUNT; timer++)
			assert_true(timers.deadline_ns[timer] > now_ns && timers.deadline_ns[timer] != NEVER);
		assert_int_equal(timers_expire(&timers, now_ns), 0);
	}
	/* From an early deadline to a clock far ahead: fires once. */
	init_running(&timers, 0);
	timers_session_derived(&timers, 0);
	assert_int_equal(timers_expire(&timers, INT64_MAX), ZERO);
	assert_int_equal(timers_expire(&timers, INT64_MAX), 0);
}

static void test_has_expired(void **state)
{
	(void)state;
	assert_false(timers_has_expired(T0, 180, T0 + 180 * S - 1));
	assert_true(timers_has_expired(T0, 180, T0 + 180 * S));
	assert_true(timers_has_expired(0 - 6 * S, 5, 0));
	assert_false(timers_has_expired(0 - 4 * S, 5, 0));
}

/* Initiations to a peer that never answers: staged packets go with the series, and a new packet starts a new one. */
static void test_unanswered_series(void **state)
{
	struct timers timers;
	uint64_t now_ns = T0;
	uint32_t random = 1;

	(void)state;
	init_running(&timers, T0);
	for (int series = 0; series < 2; series++) {
		unsigned int n_initiations = 0, actions = SEND;
		uint64_t started_ns = now_ns, took_ns;

		timers_reset_attempts(&timers);
		while (!(actions & PURGE)) {
			if (actions & (SEND | RETRY)) {
				assert_true(timers_may_initiate(&timers, now_ns));
				timers_any_authenticated_packet_traversal(&timers, now_ns);
				timers_any_authenticated_packet_sent(&timers);
				timers_handshake_sent(&timers, now_ns);
				timers_handshake_initiated(&timers, now_ns, random);
				n_initiations++;
			}
			random = random * 1664525 + 1013904223;
			now_ns = timers_next_deadline(&timers);
			actions = timers_expire(&timers, now_ns);
		}
		took_ns = now_ns - started_ns;
		assert_int_equal(n_initiations, 20);
		assert_true(took_ns >= 100 * S && took_ns < 107 * S);
		/* All that is left is the zeroing of old keys. */
		assert_true(timers_next_deadline(&timers) == timers.deadline_ns[ZEROING]);
		now_ns += S;
	}
}

/* ------ Two peers with a session, on one clock ------ */

struct end {
	struct timers timers;
	unsigned int n_keepalives;
};

static void deliver(struct end *from, struct end *to, uint64_t now_ns, bool is_data)
{
	timers_any_authenticated_packet_traversal(&from->timers, now_ns);
	timers_any_authenticated_packet_sent(&from->timers);
	if (is_data)
		timers_data_sent(&from->timers, now_ns, 0);
	else
		from->n_keepalives++;
	timers_any_authenticated_packet_received(&to->timers);
	timers_any_authenticated_packet_traversal(&to->timers, now_ns);
	if (is_data)
		timers_data_received(&to->timers, now_ns);
}

/* Runs both ends to a time; only keepalives may be asked for. */
static void run(struct end *a, struct end *b, uint64_t until_ns)
{
	for (;;) {
		uint64_t at_a = timers_next_deadline(&a->timers), at_b = timers_next_deadline(&b->timers);
		struct end *first = at_a < at_b ? a : b, *other = first == a ? b : a;
		uint64_t now_ns = at_a < at_b ? at_a : at_b;
		unsigned int actions;

		if (now_ns > until_ns)
			return;
		actions = timers_expire(&first->timers, now_ns);
		assert_int_equal(actions & ~(unsigned int)ALIVE, 0);
		if (actions & ALIVE)
			deliver(first, other, now_ns, false);
	}
}

static void test_keepalive_is_not_answered(void **state)
{
	struct end a = { .n_keepalives = 0 }, b = { .n_keepalives = 0 };

	(void)state;
	init_running(&a.timers, T0);
	init_running(&b.timers, T0);
	deliver(&a, &b, T0, true);
	deliver(&a, &b, T0 + S, true);
	run(&a, &b, T0 + 3600 * S);
	assert_int_equal(a.n_keepalives, 0);
	assert_int_equal(b.n_keepalives, 1);
	assert_true(timers_next_deadline(&a.timers) == NEVER && timers_next_deadline(&b.timers) == NEVER);
}

static void test_one_way_flow(void **state)
{
	struct end a = { .n_keepalives = 0 }, b = { .n_keepalives = 0 };

	(void)state;
	init_running(&a.timers, T0);
	init_running(&b.timers, T0);
	for (uint64_t i = 0; i < 6000; i++) {
		run(&a, &b, T0 + i * 100 * MS);
		deliver(&a, &b, T0 + i * 100 * MS, true);
	}
	/* One every 10 s and a little, which keeps a from handshaking anew. */
	assert_int_equal(a.n_keepalives, 0);
	assert_in_range(b.n_keepalives, 55, 60);
}

static void test_persistent_keepalive_only_when_idle(void **state)
{
	struct end a = { .n_keepalives = 0 }, b = { .n_keepalives = 0 };
	uint64_t now_ns = T0;

	(void)state;
	init_running(&a.timers, T0);
	init_running(&b.timers, T0);
	timers_set_persistent_keepalive(&a.timers, 25);
	for (int i = 0; i < 600; i++, now_ns += S) {
		run(&a, &b, now_ns);
		deliver(i % 2 ? &a : &b, i % 2 ? &b : &a, now_ns, true);
	}
	assert_int_equal(a.n_keepalives + b.n_keepalives, 0);
	run(&a, &b, now_ns - S + 250 * S);
	/* What is pending when traffic ends is answered once; then one every 25 s. */
	assert_in_range(a.n_keepalives, 9, 11);
	assert_in_range(b.n_keepalives, 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_may_initiate),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_next_deadline),
		cmocka_unit_test(test_far_future),
		cmocka_unit_test(test_has_expired),
		cmocka_unit_test(test_unanswered_series),
		cmocka_unit_test(test_keepalive_is_not_answered),
		cmocka_unit_test(test_one_way_flow),
		cmocka_unit_test(test_persistent_keepalive_only_when_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
