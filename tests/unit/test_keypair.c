// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../user/keypair.c"

#include <sodium.h>

#include "timers.h"

#define BIRTH_NS (1000 * NS_PER_SECOND)

static struct keypair *create(bool i_am_the_initiator, uint32_t remote_index)
{
	struct noise_session session = { .remote_index = remote_index, .i_am_the_initiator = i_am_the_initiator };
	struct keypair *keypair;

	memset(session.sending_key, 0x51, sizeof(session.sending_key));
	memset(session.receiving_key, 0x52, sizeof(session.receiving_key));
	keypair = keypair_create(&session, NULL, BIRTH_NS);
	assert_non_null(keypair);
	return keypair;
}

/* ------ Slots ------ */

/* Letters name keypairs: lower case ones were there before, N is the new one, '.' is an empty slot. */
struct row {
	const char *before;  /* current, previous, next */
	const char *event;   /* "i": we initiated and got N; "r": we responded with N; a letter: data came with it */
	const char *after;
	const char *dropped; /* sorted */
	bool confirmed;
};

static const struct row rows[] = {
	{ "...", "i", "N..", "", false },
	{ "c..", "i", "Nc.", "", false },
	{ "cp.", "i", "Nc.", "p", false },
	{ "..n", "i", "Nn.", "", false },
	{ "c.n", "i", "Nn.", "c", false },
	{ "cpn", "i", "Nn.", "cp", false },
	{ ".p.", "i", "N..", "p", false },
	{ "...", "r", "..N", "", false },
	{ "c..", "r", "c.N", "", false },
	{ "cp.", "r", "c.N", "p", false },
	{ "..n", "r", "..N", "n", false },
	{ "c.n", "r", "c.N", "n", false },
	{ "cpn", "r", "c.N", "np", false },
	{ "cpn", "n", "nc.", "p", true },
	{ "c.n", "n", "nc.", "", true },
	{ "..n", "n", "n..", "", true },
	{ ".pn", "n", "n..", "p", true },
	{ "cpn", "c", "cpn", "", false },
	{ "cpn", "p", "cpn", "", false },
	{ "cp.", "x", "cp.", "", false }, /* a keypair that is in no slot any more */
};

static struct keypair *by_letter[128];

static char letter_of(const struct keypair *keypair)
{
	for (int i = 0; keypair && i < 128; i++)
		if (by_letter[i] == keypair)
			return (char)i;
	return '.';
}

static struct keypair *slot(char letter)
{
	return letter == '.' ? NULL : by_letter[(int)letter];
}

static void sort_letters(char *text)
{
	for (size_t i = 0; text[i]; i++)
		for (size_t j = i + 1; text[j]; j++)
			if (text[j] < text[i]) {
				char t = text[i];

				text[i] = text[j];
				text[j] = t;
			}
}

static void test_slots(void **state)
{
	(void)state;
	for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++) {
		struct keypair *dropped = NULL;
		char after[4] = "", gone[4] = "";
		struct keypairs keypairs;
		bool confirmed = false;
		size_t n = 0;

		for (const char *p = "cpnxN"; *p; p++)
			by_letter[(int)*p] = create(*p == 'N' ? *row->event == 'i' : true, (uint32_t)*p);
		keypairs = (struct keypairs){ .current = slot(row->before[0]), .previous = slot(row->before[1]),
					      .next = slot(row->before[2]) };
		if (*row->event == 'i' || *row->event == 'r')
			keypairs_add_new(&keypairs, by_letter['N'], &dropped);
		else
			confirmed = keypairs_received_with(&keypairs, slot(*row->event), &dropped);
		after[0] = letter_of(keypairs.current);
		after[1] = letter_of(keypairs.previous);
		after[2] = letter_of(keypairs.next);
		for (; dropped; dropped = dropped->next_dropped) {
			assert_true(n < 3);
			gone[n++] = letter_of(dropped);
		}
		sort_letters(gone);
		print_message("%s + %s\n", row->before, row->event);
		assert_string_equal(after, row->after);
		assert_string_equal(gone, row->dropped);
		assert_int_equal(confirmed, row->confirmed);
		for (const char *p = "cpnxN"; *p; p++)
			keypair_free(by_letter[(int)*p]);
	}
}

static void test_clear_drops_all(void **state)
{
	struct keypairs keypairs = { create(true, 1), create(true, 2), create(false, 3) };
	struct keypair *dropped = NULL, *next;
	unsigned int n = 0;

	(void)state;
	keypairs_clear(&keypairs, &dropped);
	assert_null(keypairs.current);
	assert_null(keypairs.previous);
	assert_null(keypairs.next);
	for (; dropped; dropped = next, n++) {
		next = dropped->next_dropped;
		keypair_free(dropped);
	}
	assert_int_equal(n, 3);
	keypairs_clear(&keypairs, &dropped);
	assert_null(dropped);
}

/* What is under way still lands. */
static void test_expire_current_stops_sending_alone(void **state)
{
	struct keypairs keypairs = { create(true, 1), create(true, 2), create(false, 3) };
	uint64_t counter;

	(void)state;
	keypairs_expire_current(&keypairs);
	assert_false(keypair_nonce_next(keypairs.current, 1, BIRTH_NS, &counter));
	assert_false(keypair_nonce_next(keypairs.next, 1, BIRTH_NS, &counter));
	assert_true(keypair_can_receive(keypairs.current, BIRTH_NS));
	assert_true(keypair_can_receive(keypairs.next, BIRTH_NS));
	assert_true(keypair_can_receive(keypairs.previous, BIRTH_NS));
	assert_false(keypair_sender_wants_rekey(keypairs.current, BIRTH_NS + 500 * NS_PER_SECOND));
	keypair_free(keypairs.current);
	keypair_free(keypairs.previous);
	keypair_free(keypairs.next);
}

/* ------ Age and counters ------ */

static void test_ends_at_reject_after_time(void **state)
{
	const uint64_t end_ns = BIRTH_NS + REJECT_AFTER_TIME * NS_PER_SECOND;
	struct keypair *keypair = create(true, 1);
	uint64_t counter;

	(void)state;
	assert_true(keypair_can_receive(keypair, end_ns - 1));
	assert_true(keypair_nonce_next(keypair, 1, end_ns - 1, &counter));
	assert_false(keypair_can_receive(keypair, end_ns));
	assert_false(keypair_nonce_next(keypair, 1, end_ns, &counter));
	/* For good: no clock brings it back. */
	assert_false(keypair_can_receive(keypair, BIRTH_NS));
	assert_false(keypair_nonce_next(keypair, 1, BIRTH_NS, &counter));
	keypair_free(keypair);
}

static void test_counters_are_never_given_twice(void **state)
{
	struct keypair *keypair = create(true, 1);
	uint64_t first, expected = 0;

	(void)state;
	for (uint64_t n = 1; n < 200; n++) {
		assert_true(keypair_nonce_next(keypair, n, BIRTH_NS, &first));
		assert_true(first == expected);
		expected += n;
	}
	keypair_free(keypair);
}

static void test_no_counter_reaches_reject_after_messages(void **state)
{
	struct keypair *keypair = create(true, 1);
	uint64_t first;

	(void)state;
	keypair->sending_counter = UINT32_MAX;
	assert_true(keypair_nonce_next(keypair, 2, BIRTH_NS, &first));
	assert_true(first == UINT32_MAX && keypair->sending_counter == UINT32_MAX + 2ULL);

	keypair->sending_counter = REJECT_AFTER_MESSAGES - 3;
	assert_true(keypair_nonce_next(keypair, 3, BIRTH_NS, &first));
	assert_true(first == REJECT_AFTER_MESSAGES - 3);
	assert_false(keypair_nonce_next(keypair, 1, BIRTH_NS, &first));
	keypair_free(keypair);

	/* A burst that does not fit gets nothing, and the keypair is done for. */
	keypair = create(true, 1);
	keypair->sending_counter = REJECT_AFTER_MESSAGES - 3;
	assert_false(keypair_nonce_next(keypair, 4, BIRTH_NS, &first));
	assert_false(keypair_nonce_next(keypair, 1, BIRTH_NS, &first));
	assert_true(keypair_can_receive(keypair, BIRTH_NS));
	keypair_free(keypair);
	assert_false(keypair_nonce_next(NULL, 1, BIRTH_NS, &first));
}

static void test_sender_rekeys(void **state)
{
	const uint64_t due_ns = BIRTH_NS + REKEY_AFTER_TIME * NS_PER_SECOND;
	struct keypair *initiator = create(true, 1), *responder = create(false, 2);

	(void)state;
	assert_false(keypair_sender_wants_rekey(NULL, due_ns));
	assert_false(keypair_sender_wants_rekey(initiator, due_ns - 1));
	assert_true(keypair_sender_wants_rekey(initiator, due_ns));
	assert_false(keypair_sender_wants_rekey(responder, due_ns));
	initiator->sending_counter = responder->sending_counter = REKEY_AFTER_MESSAGES;
	assert_false(keypair_sender_wants_rekey(initiator, BIRTH_NS));
	assert_false(keypair_sender_wants_rekey(responder, BIRTH_NS));
	initiator->sending_counter = responder->sending_counter = REKEY_AFTER_MESSAGES + 1;
	assert_true(keypair_sender_wants_rekey(initiator, BIRTH_NS));
	assert_true(keypair_sender_wants_rekey(responder, BIRTH_NS));
	keypair_free(initiator);
	keypair_free(responder);
}

static void test_receiver_rekeys(void **state)
{
	const uint64_t due_ns = BIRTH_NS + 165 * NS_PER_SECOND;
	struct keypair *initiator = create(true, 1), *responder = create(false, 2);

	(void)state;
	assert_false(keypair_receiver_wants_rekey(NULL, due_ns));
	assert_false(keypair_receiver_wants_rekey(initiator, due_ns - 1));
	assert_true(keypair_receiver_wants_rekey(initiator, due_ns));
	assert_false(keypair_receiver_wants_rekey(responder, due_ns));
	keypairs_expire_current(&(struct keypairs){ .current = initiator });
	assert_false(keypair_receiver_wants_rekey(initiator, due_ns));
	keypair_free(initiator);
	keypair_free(responder);
}

static void test_new_one_has_its_session(void **state)
{
	struct keypair *keypair = create(false, 0xdeadbeef);

	(void)state;
	assert_int_equal(keypair->remote_index, 0xdeadbeef);
	assert_false(keypair->i_am_the_initiator);
	assert_int_equal(keypair->sending_key[31], 0x51);
	assert_int_equal(keypair->receiving_key[31], 0x52);
	assert_int_equal(keypair->sending_counter, 0);
	assert_true(replay_accept(&keypair->replay, 0));
	keypair_free(keypair);
	keypair_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_clear_drops_all),
		cmocka_unit_test(test_expire_current_stops_sending_alone),
		cmocka_unit_test(test_ends_at_reject_after_time),
		cmocka_unit_test(test_counters_are_never_given_twice),
		cmocka_unit_test(test_no_counter_reaches_reject_after_messages),
		cmocka_unit_test(test_sender_rekeys),
		cmocka_unit_test(test_receiver_rekeys),
		cmocka_unit_test(test_new_one_has_its_session),
	};

	if (sodium_init() < 0 || secret_init(1 << 20))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
