/*
 * mihwal.c
 *	  Logging of single pages that were changed where they lie.
 *
 * GenericXLogStart and GenericXLogFinish copy a page twice and find out what
 * changed by comparing the copies byte by byte.  That costs more than all the
 * rest of an insert, and an inserter knows what it changed.  So the records are
 * made here, of the same resource manager and in its format, which has not
 * changed since generic WAL exists (9.6): block n of the record carries fragments
 *
 *		uint16 offset | uint16 length | bytes
 *
 * that replay copies onto the page, before it zeroes the hole between pd_lower
 * and pd_upper.  Hence the two rules for callers: every byte that changed outside
 * the hole is in a fragment, and the hole is zero in memory too.  The first change
 * after a checkpoint is logged as an image of the page, by XLogInsert itself.
 *
 * wal_consistency_checking = 'generic' covers these records as any others.
 */
#include "mih/mih.h"

#include "access/rmgr.h"
#include "access/xloginsert.h"
#include "miscadmin.h"

/* Note that length bytes at at, which is on page, have changed. */
void
mih_delta_add(MihDelta *delta, Page page, const void *at, uint16 length)
{
	uint16 offset = (const char *) at - (const char *) page;

	Assert(delta->size + MIH_FRAGMENT_HEADER + length <= (int) sizeof(delta->bytes));
	memcpy(delta->bytes + delta->size, &offset, sizeof(offset));
	memcpy(delta->bytes + delta->size + sizeof(offset), &length, sizeof(length));
	memcpy(delta->bytes + delta->size + MIH_FRAGMENT_HEADER, at, length);
	delta->size += MIH_FRAGMENT_HEADER + length;
}

/* Insert the record that has been put together and stamp the page with it. */
static void
finish(Buffer buf)
{
	XLogRecPtr lsn = XLogInsert(RM_GENERIC_ID, 0);

	PageSetLSN(BufferGetPage(buf), lsn);
}

/*
 * Log the fragments of the page in buf, which is locked exclusively and changed
 * already.  The caller opened a critical section before it changed the page.
 */
void
mih_log_delta(Relation index, Buffer buf, MihDelta *delta)
{
	MarkBufferDirty(buf);
	if (RelationNeedsWAL(index))
	{
		XLogBeginInsert();
		XLogRegisterBuffer(0, buf, REGBUF_STANDARD);
		XLogRegisterBufData(0, delta->bytes, delta->size);
		finish(buf);
	}
}

/* Replace the page in buf, locked exclusively, by an image, and log that. */
void
mih_write_image(Relation index, Buffer buf, const char *image)
{
	START_CRIT_SECTION();
	memcpy(BufferGetPage(buf), image, BLCKSZ);
	MarkBufferDirty(buf);
	if (RelationNeedsWAL(index))
	{
		XLogBeginInsert();
		XLogRegisterBuffer(0, buf, REGBUF_FORCE_IMAGE | REGBUF_STANDARD);
		finish(buf);
	}
	END_CRIT_SECTION();
}
