/*
 * deephash.h
 *	  What the folders of the extension offer to _PG_init.
 */
#ifndef DEEPHASH_H
#define DEEPHASH_H

/* Each defines the GUCs and hooks of its folder; called once, by _PG_init. */
extern void mih_init(void);
extern void encoder_init(void);

#endif
