/*
 * recorded.h
 *	  Steps as CUDA graphs: recorded at their second run, replayed from then on.
 *
 * What a pass queues depends on the number of pictures, the place they lie in and whether
 * it trains: these are its key.  All else lies in memory of the device whose place does
 * not change.  The first run of a key is never recorded: it loads kernels and chooses
 * plans, which a recording must not.  Where recording fails, the pass is queued each
 *	  time.
 */
#ifndef GPU_RECORDED_H
#define GPU_RECORDED_H

#include "gpu/stream.h"

#define RECORDED_PASSES 24

struct RecordedKey
{
	int n, slot, pass;
	bool train;
};

struct Recorded
{
	RecordedKey key;
	int runs;
	bool made; /* recorded, and it did not fail */
	Recording recording;
};

struct Recorder
{
	int count;
	Recorded pass[RECORDED_PASSES];
};

enum RecordedTurn
{
	TURN_QUEUE,
	TURN_RECORD,
	TURN_REPLAY
};

/* What to do with a pass now; *entry: where its graph is, or is to be. */
static inline RecordedTurn
recorded_turn(Recorder *r, const RecordedKey &key, Recorded **entry)
{
	Recorded *found = NULL;

	for (int i = 0; i < r->count && !found; i++)
	{
		const RecordedKey &k = r->pass[i].key;

		if (k.n == key.n && k.slot == key.slot && k.pass == key.pass &&
			k.train == key.train)
			found = &r->pass[i];
	}
	if (!found && r->count < RECORDED_PASSES)
	{
		found = &r->pass[r->count++];
		found->key = key;
		found->runs = 0;
	}
	*entry = found;
	if (!found || found->runs == 0)
	{
		if (found)
			found->runs = 1;
		return TURN_QUEUE;
	}
	return found->runs++ == 1 ? TURN_RECORD : TURN_REPLAY;
}

static inline void
recorder_stop(Machine *m, Recorder *r)
{
	for (int i = 0; i < r->count; i++)
		if (r->pass[i].made)
			forget(m, r->pass[i].recording);
	r->count = 0;
}

/* Run what work queues, recorded if need be; false: it failed, and err says how. */
static inline bool
run_recorded(Machine *m, Recorder *r, const RecordedKey &key, Work work, void *context,
			 NnError *err)
{
	Recorded *entry = NULL;
	RecordedTurn turn = m->dry || (m->without & WITHOUT_GRAPHS)
							? TURN_QUEUE
							: recorded_turn(r, key, &entry);

	if (turn == TURN_RECORD)
		entry->made = record(m, &entry->recording, work, context, key.n, err);
	if (turn == TURN_QUEUE || !entry->made)
		return work(context, key.n, err);
	return replay(m, entry->recording, work, context, key.n, err);
}

#endif
