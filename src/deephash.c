/*
 * deephash.c
 *	  Entry of the extension's shared library, and nothing else.
 */
#include "compat.h"

#include "utils/guc.h"

#include "deephash.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	mih_init();
	encoder_init();
	MarkGUCPrefixReserved("deephash");
}
